"""`mnrun report`: curves, times, answers and causes of runs, as a page, pictures and Markdown.

All of it is made from one bounded document (the module run_report_info). Texts in it come from logs
and models, and are escaped by the one function that makes a tag.
"""
