"""What ktpy does for a service under development: a page of prose per mode, all context managers."""
