"""What a teacher needs: student copies, grading, an archive for a room without network, and the minutes of a lesson.

Commands: `release` (make student), `grade` (make grade), `lesson` (make lessons), `slides` (make slides), `pack` (make pack).
`grade` and what it calls, `workbench`, `kernel`, `sandbox` and `cells`, run in an environment of their own with nbgrader;
what learners wrote runs in the course's environment, in a kernel that sees nothing but the course.
"""
