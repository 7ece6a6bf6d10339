"""The operators that an exported program may call, and what is checked where one is called.

The list holds what exports of torchvision's classifiers, of transformers and of torch's layers
use (before and after ``run_decompositions``), as far as the operator checks that it stays
within its tensors. Many do not, and then a file can read or write memory: each name with a
leading underscore was called with wrong sizes first, and those that did not refuse them
(``_weight_norm``, ``_fused_rms_norm``, ``_reshape_alias``, ``lstm``, all with ``unsafe`` as
an argument) are not on the list. Three kinds that no export can do without refuse nothing
themselves; `check_operators` looks at their arguments whenever they are called.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

from molehunt.errors import UnreadableFileError, mismatch

_LISTED = """
__and__ __or__ __xor__
_adaptive_avg_pool2d _adaptive_avg_pool3d _log_softmax _native_batch_norm_legit
_native_batch_norm_legit_no_training _softmax _to_copy _unsafe_index _unsafe_view
_assert_scalar _assert_tensor_metadata _upsample_bicubic2d_aa _upsample_bilinear2d_aa
_upsample_nearest_exact2d
abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
adaptive_max_pool2d add addcdiv addcmul addmm affine_grid_generator alias all alpha_dropout amax
amin any arange argmax argmin argsort as_strided asin asinh atan atan2 atanh avg_pool1d
avg_pool2d avg_pool3d baddbmm batch_norm bernoulli bitwise_and bitwise_not bitwise_or
bitwise_xor bmm broadcast_to bucketize cat ceil celu channel_shuffle chunk clamp clamp_max
clamp_min clone col2im complex concat constant_pad_nd contiguous conv1d conv2d conv3d
conv_transpose1d conv_transpose2d conv_transpose3d convolution copy cos cosh
cosine_similarity cross cumprod cumsum detach detach_ diag_embed diagonal diff div dot dropout
einsum elu embedding empty empty_like eq erf erfc exp exp2 expand expand_as expm1 eye
feature_alpha_dropout feature_dropout fft_fft2 fft_fftn fft_ifft2 fft_ifftn fft_irfft2 fft_rfft2
fill flatten flip floor floor_divide fmod frac fractional_max_pool2d full full_like gather ge gelu
glu grid_sampler grid_sampler_2d group_norm gt hardshrink hardsigmoid hardswish hardtanh hstack
hypot im2col index index_add index_put index_select instance_norm isfinite isinf isnan
layer_norm le leaky_relu lerp lift_fresh_copy linalg_norm linalg_vector_norm linear linspace log
log10 log1p log2 log_sigmoid log_softmax logical_and logical_not logical_or logical_xor
logsumexp lt masked_fill matmul max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
max_pool3d_with_indices maximum mean median meshgrid min minimum mish mm movedim mul
multiply mv nan_to_num narrow native_dropout native_group_norm native_layer_norm ne neg
new_empty new_full new_ones new_zeros norm numpy_T one_hot ones ones_like outer pad permute
pixel_shuffle pixel_unshuffle polar pow prelu prod rand rand_like randn randn_like real
reciprocal reflection_pad1d reflection_pad2d relu relu6 remainder repeat repeat_interleave
replication_pad1d replication_pad2d reshape rms_norm roll round rrelu rsqrt rsub scalar_tensor
scaled_dot_product_attention scatter scatter_add select select_scatter selu sigmoid sign silu sin
sinh slice slice_scatter softmax softplus softshrink sort split split_with_sizes sqrt square
squeeze stack std std_mean sub subtract sum swapaxes sym_constrain_range
sym_constrain_range_for_size sym_numel sym_size sym_storage_offset sym_stride t tan tanh
tensor_split threshold tile to topk transpose tril triu true_divide trunc type_as unbind
unflatten unfold unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d
upsample_nearest1d upsample_nearest2d upsample_trilinear3d var var_mean view view_as
view_as_complex view_as_real vstack where zero zeros zeros_like
"""
_IN_PLACE = """
abs add addcdiv addcmul addmm alpha_dropout baddbmm ceil celu clamp clamp_max clamp_min copy cos
div dropout elu exp feature_dropout fill floor hardsigmoid hardswish hardtanh index_put leaky_relu
lerp log masked_fill mish mul neg pow reciprocal relu relu6 round rrelu rsqrt scatter scatter_add
selu sigmoid silu sin sqrt squeeze sub tanh threshold unsqueeze zero
"""
OPERATORS = frozenset(_LISTED.split()) | {f"{name}_" for name in _IN_PLACE.split()}
BLOCKS = frozenset({"wrap_with_set_grad_enabled", "wrap_with_autocast", "cond"})
_ARITHMETIC = re.compile(
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|and_|or_|lshift|rshift"
    r"|eq|ne|lt|le|gt|ge|getitem)"
    r"|math\.(ceil|floor|trunc)"
    r"|torch\.(sym_(float|int|ite|max|min|not|sqrt|sum)|_sym_sqrt)"
)
_OPERATOR = re.compile(r"torch\.ops\.(?P<space>\w+)\.(?P<name>\w+)(\.(?P<overload>\w+))?", re.ASCII)
# Operators that open files, print, or run code that the file or another library brings.
_REACHING = re.compile(
    r"(from_file|save|load|warn|.*(_print|print_|file|triton|torchbind|library|script).*|print)"
)
_REACHING_SPACES = {"image", "aoti", "inductor", "_c10d_functional", "c10d", "rpc", "profiler"}
_SCALES = 1e-4, 1e4


def find_operator_fault(target: str) -> tuple[str, bool] | None:
    """Return what is wrong with a call of `target` and whether it is known to reach outside.

    None for what is on the list. `target` is written as in the file: ``torch.ops.aten.add.Tensor``.
    """
    if _ARITHMETIC.fullmatch(target):
        return None
    match = _OPERATOR.fullmatch(target)
    if match is None:
        return "calls a function that is no operator", True
    space, name, overload = match["space"], match["name"], match["overload"] or ""
    if space in _REACHING_SPACES or _REACHING.fullmatch(name):
        return "calls an operator that opens files, prints or runs other code", True
    known = (space == "aten" and name in OPERATORS and not re.search(r"(^|_)out$", overload)) or (
        space == "higher_order" and name in BLOCKS
    )
    if known:
        return None
    return "calls an operator that is not on the list of those known to stay in bounds", False


def check_operators(module: nn.Module) -> None:
    """Let a loaded program look at arguments before operators that do not check them.

    Changes `module`, which ``ExportedProgram.module()`` made, in place. Where arguments do not
    fit, its forward function raises `UnreadableFileError`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> norm = nn.BatchNorm2d(3).eval()
    >>> program = torch.export.export(norm, (torch.ones(2, 3, 4, 4),)).run_decompositions()
    >>> module = program.module()
    >>> check_operators(module)
    >>> module(torch.ones(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """
    from torch import fx  # noqa: PLC0415  heavy

    for part in module.modules():
        if not isinstance(part, fx.GraphModule):
            continue
        for node in list(part.graph.nodes):
            check = _check_for(node.target)
            if node.op != "call_function" or check is None:
                continue
            names = [argument.name for argument in node.target._schema.arguments]
            named = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
            with part.graph.inserting_before(node):
                part.graph.call_function(check, (named,))
        part.recompile()


def _check_for(target: object) -> Any:
    from torch import _ops  # noqa: PLC0415  heavy

    if not isinstance(target, _ops.OpOverload):
        return None
    name = target._schema.name.removeprefix("aten::")
    if name.startswith("_native_batch_norm_legit"):
        return check_norm
    if name == "scaled_dot_product_attention":
        return check_attention
    return check_scales if "upsample" in name else None


def check_norm(named: dict[str, Any]) -> None:
    """Refuse statistics and weights of another length than the input has channels."""
    images: Tensor = named["input"]
    channels = images.shape[1] if images.ndim > 1 else 0
    for key in ("weight", "bias", "running_mean", "running_var"):
        value = named.get(key)
        if value is not None and tuple(value.shape) != (channels,):
            got = tuple(value.shape)
            raise UnreadableFileError(
                mismatch(f"{key} of a batch norm", f"{channels} numbers", got)
            )


def check_attention(named: dict[str, Any]) -> None:
    """Refuse keys, values and queries of shapes that do not fit each other."""
    query, key, value = (named[name].shape for name in ("query", "key", "value"))
    batch = -3 if named.get("enable_gqa") else -2
    fits = (
        len(query) == len(key) == len(value) >= 2
        and key[:-1] == value[:-1]
        and query[-1] == key[-1]
        and query[:batch] == key[:batch]
    )
    if not fits:
        got = f"{tuple(query)}, {tuple(key)}, {tuple(value)}"
        raise UnreadableFileError(mismatch("attention", "shapes that fit each other", got))


def check_scales(named: dict[str, Any]) -> None:
    """Refuse scales of an upsampling that no integer index survives."""
    least, most = _SCALES
    for value in named.values():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not (
                math.isfinite(number) and least <= number <= most
            ):
                raise UnreadableFileError(
                    mismatch("scale of an upsampling", f"{least} to {most}", number)
                )
