"""What a teacher needs: student copies, grading, an archive for a room without network, and the minutes of a lesson.

Each module is a command: `release` (make student), `grade` (make grade), `pack` (make pack), `lesson` (make lessons).
`grade` and what it calls, `workbench`, `kernel`, `sandbox` and `cells`, run in an environment of their own with nbgrader;
what learners wrote runs in the course's environment, in a kernel that sees nothing but the course.
"""
