"""What is run: many trainings in one program, one optimizer on one task, a whole comparison."""
