"""What each kind of model brings to the loop: its functions from the other rooms, put together in one value."""
