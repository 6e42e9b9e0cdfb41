"""HTTP: the Label Studio protocol, webhooks, and the JSON API. See `app.create_app`."""
