//! Text whose rendering is worth a look: Markdown and mathematics.

/// Title and lines of each example.
pub const RENDERING: &[(&str, &[&str])] = &[
    (
        "Emphasis",
        &["*italic*, **bold**, ***both***, ~~struck out~~ and `code`"],
    ),
    (
        "Lists",
        &[
            "1. first",
            "2. second",
            "    * inside",
            "    * also inside",
            "",
            "- [x] done",
            "- [ ] to do",
        ],
    ),
    (
        "Table",
        &[
            "| model | accuracy | time |",
            "|:------|:--------:|-----:|",
            "| small | 0.91     |   3s |",
            "| large | 0.97     | 120s |",
        ],
    ),
    (
        "Character References",
        &["&alpha; &rarr; &omega;, 3 &times; 4 &ne; 13, &copy; &ndash; &#9731; and as they are: α → ω, ☃, 你好, 😀"],
    ),
    (
        "Code",
        &[
            "~~~ python",
            "def accuracy(pairs):",
            "\thits = [guess == truth for guess, truth in pairs]",
            "\treturn sum(hits) / len(hits)",
            "~~~",
        ],
    ),
    (
        "Mathematics",
        &[
            r"Inline: $e^{i\pi} + 1 = 0$, with underscores $a_1 + a_2$, and a price of \$5.",
            "",
            "$$",
            r"\hat\theta = \arg\max_\theta \sum_{i=1}^n \log p(x_i \mid \theta)",
            "$$",
        ],
    ),
];
