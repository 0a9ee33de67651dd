"""The API as an OpenAPI document, written from the descriptors."""
