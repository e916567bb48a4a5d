from .conversion import ConversionError as ConversionError
from .conversion import convert_checkpoint as convert_checkpoint
from .export import ExportedReportGenerator as ExportedReportGenerator
from .export import export_model as export_model
from .hub import load_for_hub as load_for_hub
from .hub import push_to_hub as push_to_hub
from .hub import save_with_code as save_with_code
from .model_card import render_model_card as render_model_card
