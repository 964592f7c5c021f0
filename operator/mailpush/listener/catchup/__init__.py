"""Up to where each folder's mails are told, so that the next owner goes on from there (protocol P16, P18)."""
