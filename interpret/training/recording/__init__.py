"""What the recorder is made of: measuring on the device, writing whole lines, reading them back."""
