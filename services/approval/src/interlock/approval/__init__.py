"""The Approval service: pending steps to people, bots and programs, and their decisions back."""
