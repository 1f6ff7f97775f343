"""ssrobust: does self-supervised pretraining make a medical-imaging network more robust? (Navarro et al. 2021)"""

__version__ = "0.1.0"
