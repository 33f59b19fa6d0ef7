"""Attribution models as they are deployed: files that explain another model, run as any client would run them."""
