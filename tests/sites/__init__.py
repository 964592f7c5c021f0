"""What several folders of tests share: sites, fakes, and how to wait."""
