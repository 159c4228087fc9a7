/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Bounds of pointers (clang, "-fbounds-safety"): annotations for a checking compiler, nothing for any other.
 */
#ifndef WEIR_PTRCHECK_H
#define WEIR_PTRCHECK_H

#ifndef __counted_by
#define __counted_by(count)
#endif
#ifndef __counted_by_or_null
#define __counted_by_or_null(count)
#endif
#ifndef __sized_by
#define __sized_by(size)
#endif
#ifndef __sized_by_or_null
#define __sized_by_or_null(size)
#endif
#define __ended_by(end)
#define __terminated_by(value)
#define __null_terminated

#define __single
#define __indexable
#define __bidi_indexable
#define __unsafe_indexable

#define __unsafe_forge_single(type, pointer)                 ((type) (pointer))
#define __unsafe_forge_bidi_indexable(type, pointer, size)   ((type) (pointer))
#define __unsafe_forge_terminated_by(type, pointer, value)   ((type) (pointer))
#define __unsafe_forge_null_terminated(type, pointer)        ((type) (pointer))
#define __terminated_by_to_indexable(pointer)                (pointer)
#define __unsafe_terminated_by_to_indexable(pointer)         (pointer)
#define __null_terminated_to_indexable(pointer)              (pointer)
#define __unsafe_null_terminated_to_indexable(pointer)       (pointer)
#define __unsafe_null_terminated_from_indexable(pointer, ...) (pointer)

#define __ptrcheck_abi_assume_single()
#define __ptrcheck_abi_assume_indexable()
#define __ptrcheck_abi_assume_bidi_indexable()
#define __ptrcheck_abi_assume_unsafe_indexable()
#define __ptrcheck_unavailable
#define __ptrcheck_unavailable_r(replacement)

#endif /* WEIR_PTRCHECK_H */
