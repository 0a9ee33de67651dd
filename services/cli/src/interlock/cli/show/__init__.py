"""What commands print: one module per noun."""
