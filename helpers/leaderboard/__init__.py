"""Many runs, one table that compares only what may be compared. Taught in notebook 07."""
