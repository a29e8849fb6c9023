"""What a network learns from: readers that check every byte, data sets as host arrays, the split."""
