"""Pictures of attributions: of pictures, tables, texts and layers."""
