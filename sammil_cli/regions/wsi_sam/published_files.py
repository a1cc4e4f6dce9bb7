"""The files of WSI-SAM's published tokens; known without torch, which takes seconds to load."""

PUBLISHED_FILES = ("net_high.pth", "net_low.pth")  # of HR, of LR
