"""Reading a model and bringing it to one form: files, opsets, shapes; model.py puts them in order."""
