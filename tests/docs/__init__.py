"""The pages of the documentation site: what they show is run, and the site is built."""
