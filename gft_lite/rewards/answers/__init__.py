"""Answers: where they stand in a text, how they are read, and whether two are equal.

    text --extract--> answer as written --grammar--> value --equality--> equal or not

`writing` removes what changes nothing, `plain_number`, `units` and `quantity` read the smallest
parts, `values` has the types of a read answer, `sentence` what a whole sentence may mean, and
`algebra` compares two expressions with computer algebra.
"""
