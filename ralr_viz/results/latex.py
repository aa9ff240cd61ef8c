"""Text that LaTeX shows as it is: names are foreign, and captions hold signs that pdfTeX has in formulas only."""

from __future__ import annotations

from ralr_viz.foreign import one_line

_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "–": "--", "—": "---", "†": r"\textdagger{}", "…": r"\ldots{}",
}  # fmt: skip
_FORMULAS = {
    "±": r"\pm", "−": "-", "×": r"\times", "·": r"\cdot", "≥": r"\geq", "≤": r"\leq", "≈": r"\approx", "∞": r"\infty",
    "→": r"\to", "←": r"\leftarrow", "↑": r"\uparrow", "↓": r"\downarrow", "‖": r"\|", "√": r"\sqrt{\ }",
    "∪": r"\cup", "∩": r"\cap", "∫": r"\int", "°": r"{}^{\circ}", "¹": "{}^{1}", "²": "{}^{2}", "³": "{}^{3}", "⁶": "{}^{6}",
    "⁺": "{}^{+}", "ᵀ": r"{}^{\top}", "₁": "{}_{1}", "₂": "{}_{2}", "½": r"\tfrac{1}{2}", "¼": r"\tfrac{1}{4}",
    "¾": r"\tfrac{3}{4}", "Σ": r"\Sigma", "Δ": r"\Delta", "α": r"\alpha", "η": r"\eta", "κ": r"\kappa", "λ": r"\lambda",
    "µ": r"\mu", "μ": r"\mu", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "✓": r"\surd", "✗": r"\times", "★": r"\star",
}  # fmt: skip
_LATEX = str.maketrans(_SIGNS | {sign: f"${formula}$" for sign, formula in _FORMULAS.items()})


def escape_latex(text: str) -> str:
    """One line that LaTeX shows as it is, by packages of its kernel; letters of other scripts need a font that has them."""
    return one_line(" ".join(text.split()), None).translate(_LATEX)
