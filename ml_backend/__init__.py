"""The kernel and the serving half of Kaan: everything the web process and the workers share."""
