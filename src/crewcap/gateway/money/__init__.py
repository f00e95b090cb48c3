"""What a request may cost, whether the money is there, and how its end is booked."""
