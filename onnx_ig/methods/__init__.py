"""Attribution methods with Captum's interface."""
