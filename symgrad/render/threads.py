"""Loops whose rounds run in threads: the body becomes a function, which a small pool calls for every round.

The threads live as long as one call of the kernel: they are made when a parallel loop first asks for them, wait actively
between loops (a training step has one every few microseconds), and are joined before the kernel returns. So nothing is left
over for a ``fork`` or the interpreter's end to trip over. On Linux each begins on another processor than the caller's, and one
that does not end at once is fetched to the caller's. A round belongs to whoever claims it first, the caller too: where a
thread could not be made, or another process holds its processor, the caller does the work, and the result is the same.

The pool is a block of 64-bit words on the caller's stack, those that threads write on cache lines of their own. Its first
word says what can be claimed: the loop's number, how many rounds it has, and the next one (32, 16 and 16 bits); -1 ends
the threads. What the loop runs is written before, and read after a claim.
"""

from __future__ import annotations

import os
import sys

from symgrad.loops import Loop, Statement, Value
from symgrad.loops.walk import buffers, made, values, walk
from symgrad.render.llvm_body import Body, Context, memory_type, quoted

__all__ = ["MOST", "POOL", "close_pool", "emit_parallel", "open_pool"]

MOST = 64  # threads
POOL = "%pool"
SPINS = 10_000  # looks at a word before the processor is offered to others: some ten microseconds

# words of the pool
CLAIMS, DONE, CODE, ENDED, TASK, CONTEXT, MADE = 0, 8, 16, 17, 24, 25, 26
ALLOWED, WORDS_ALLOWED = 32, 16  # the processors that the caller may run on, a bit each
HANDLES = ALLOWED + WORDS_ALLOWED
WORDS = HANDLES + MOST
PLACED = sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names  # whether threads are told where to begin
ATTRIBUTES = "%attributes" if PLACED else "null"


def _elsewhere() -> str:
    """Attributes of a thread that begins on another processor than the caller's.

    Where every processor is busy the system leaves a new thread beside the one that made it, and looks again only after
    some milliseconds: training two threads on one of two processors was as slow as one thread.
    """
    if not PLACED:
        return ""
    return f"""  %some = load i64, ptr %made.at, align 8
  %ready = icmp sge i64 %some, %wanted
  br i1 %ready, label %leave, label %place
place:
  {ATTRIBUTES} = alloca [16 x i64], align 16
  call i32 @pthread_attr_init(ptr {ATTRIBUTES})
  %allowed = getelementptr i64, ptr %pool, i64 {ALLOWED}
  %unknown = call i32 @sched_getaffinity(i32 0, i64 {8 * WORDS_ALLOWED}, ptr %allowed)
  %here = call i32 @sched_getcpu()
  %below = icmp ult i32 %here, {64 * WORDS_ALLOWED}
  %known = icmp sge i32 %unknown, 0
  %sure = and i1 %known, %below
  br i1 %sure, label %exclude, label %next
exclude:
  %others = alloca [{WORDS_ALLOWED} x i64], align 8
  call void @llvm.memcpy.p0.p0.i64(ptr align 8 %others, ptr align 8 %allowed, i64 {8 * WORDS_ALLOWED}, i1 false)
  %word = lshr i32 %here, 6
  %bit = and i32 %here, 63
  %wide = zext i32 %bit to i64
  %mine = shl i64 1, %wide
  %rest = xor i64 %mine, -1
  %word.at = getelementptr i64, ptr %others, i32 %word
  %old = load i64, ptr %word.at, align 8
  %new = and i64 %old, %rest
  store i64 %new, ptr %word.at, align 8
  %vector = load <{WORDS_ALLOWED} x i64>, ptr %others, align 8
  %any = call i64 @llvm.vector.reduce.or.v{WORDS_ALLOWED}i64(<{WORDS_ALLOWED} x i64> %vector)
  %alone = icmp eq i64 %any, 0
  br i1 %alone, label %next, label %tell
tell:
  call i32 @pthread_attr_setaffinity_np(ptr {ATTRIBUTES}, i64 {8 * WORDS_ALLOWED}, ptr %others)
"""


def _forgotten() -> str:
    """The end of the attributes."""
    return f"  call i32 @pthread_attr_destroy(ptr {ATTRIBUTES})\n" if PLACED else ""


def _anywhere() -> str:
    """What a thread does first: from here on it may move."""
    if not PLACED:
        return ""
    return f"""  %allowed = getelementptr i64, ptr %pool, i64 {ALLOWED}
  call i32 @sched_setaffinity(i32 0, i64 {8 * WORDS_ALLOWED}, ptr %allowed)
"""


def _fetched() -> str:
    """Threads that do not end at once are on a processor that others hold: they are fetched here, where they run while we wait.

    Without it a call of 0.1 ms took 4 ms on a busy machine, a turn of whoever was there. A thread that has just ended
    may be taken for the caller by the C library, so the caller is told again where it may run.
    """
    if not PLACED:
        return ""
    return f"""  %ended.at = getelementptr i64, ptr %pool, i64 {ENDED}
  %here = alloca [{WORDS_ALLOWED} x i64], align 8
  %allowed = getelementptr i64, ptr %pool, i64 {ALLOWED}
  br label %wait
wait:
  %looks = phi i64 [0, %entry], [%further, %again]
  %ended = load atomic i64, ptr %ended.at acquire, align 8
  %all = icmp sge i64 %ended, %made
  br i1 %all, label %joining, label %again
again:
  %further = add i64 %looks, 1
  %long = icmp ugt i64 %looks, {SPINS}
  br i1 %long, label %find, label %wait
find:
  %number = call i32 @sched_getcpu()
  %below = icmp ult i32 %number, {64 * WORDS_ALLOWED}
  br i1 %below, label %fetch, label %joining
fetch:
  call void @llvm.memset.p0.i64(ptr align 8 %here, i8 0, i64 {8 * WORDS_ALLOWED}, i1 false)
  %word = lshr i32 %number, 6
  %place = and i32 %number, 63
  %wide = zext i32 %place to i64
  %bit = shl i64 1, %wide
  %word.at = getelementptr i64, ptr %here, i32 %word
  store i64 %bit, ptr %word.at, align 8
  br label %each
each:
  %which = phi i64 [0, %fetch], [%after, %move]
  %more = icmp slt i64 %which, %made
  br i1 %more, label %move, label %restore
move:
  %slot = add i64 %which, {HANDLES}
  %thread.at = getelementptr i64, ptr %pool, i64 %slot
  %thread = load i64, ptr %thread.at, align 8
  call i32 @pthread_setaffinity_np(i64 %thread, i64 {8 * WORDS_ALLOWED}, ptr %here)
  %after = add i64 %which, 1
  br label %each
restore:
  call i32 @sched_setaffinity(i32 0, i64 {8 * WORDS_ALLOWED}, ptr %allowed)
"""


def _pool_functions(name: str) -> str:
    """Claiming a round, what a thread does, how threads are made, how a loop runs, and the end."""
    claim, worker, grow, run, close = (quoted(f"{name}.{part}") for part in ("claim", "worker", "grow", "run", "close"))
    return f"""
define internal i64 {claim}(ptr %pool) nounwind alwaysinline {{
entry:
  %first = load atomic i64, ptr %pool acquire, align 8
  br label %look
look:
  %word = phi i64 [%first, %entry], [%newer, %take]
  %ended = icmp eq i64 %word, -1
  br i1 %ended, label %end, label %open
open:
  %round = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %count = and i64 %shifted, 65535
  %left = icmp ult i64 %round, %count
  br i1 %left, label %take, label %none
take:
  %following = add i64 %word, 1
  %answer = cmpxchg ptr %pool, i64 %word, i64 %following acq_rel acquire, align 8
  %newer = extractvalue {{i64, i1}} %answer, 0
  %mine = extractvalue {{i64, i1}} %answer, 1
  br i1 %mine, label %claimed, label %look
claimed:
  ret i64 %round
none:
  ret i64 -1
end:
  ret i64 -2
}}

define internal ptr {worker}(ptr %pool) nounwind {{
entry:
{_anywhere()}  %done.at = getelementptr i64, ptr %pool, i64 {DONE}
  %code.at = getelementptr i64, ptr %pool, i64 {CODE}
  %task.at = getelementptr i64, ptr %pool, i64 {TASK}
  %context.at = getelementptr i64, ptr %pool, i64 {CONTEXT}
  br label %next
next:
  %spins = phi i64 [0, %entry], [0, %work], [%more, %idle], [%more, %rest]
  %round = call i64 {claim}(ptr %pool)
  %some = icmp sge i64 %round, 0
  br i1 %some, label %work, label %nothing
work:
  %task = load ptr, ptr %task.at, align 8
  %context = load ptr, ptr %context.at, align 8
  %code = call i32 %task(ptr %context, i64 %round)
  %wide = zext i32 %code to i64
  %before = atomicrmw umax ptr %code.at, i64 %wide monotonic
  %others = atomicrmw add ptr %done.at, i64 1 release
  br label %next
nothing:
  %ended = icmp eq i64 %round, -2
  br i1 %ended, label %leave, label %idle
idle:
  %more = add i64 %spins, 1
  %long = icmp ugt i64 %spins, {SPINS}
  br i1 %long, label %rest, label %next
rest:
  call i32 @sched_yield()
  br label %next
leave:
  %ended.at = getelementptr i64, ptr %pool, i64 {ENDED}
  %ending = atomicrmw add ptr %ended.at, i64 1 release
  ret ptr null
}}

define internal void {grow}(ptr %pool, i64 %wanted) nounwind noinline {{
entry:
  %made.at = getelementptr i64, ptr %pool, i64 {MADE}
{_elsewhere()}  br label %next
next:
  %made = load i64, ptr %made.at, align 8
  %enough = icmp sge i64 %made, %wanted
  br i1 %enough, label %over, label %make
make:
  %at = add i64 %made, {HANDLES}
  %handle = getelementptr i64, ptr %pool, i64 %at
  %failed = call i32 @pthread_create(ptr %handle, ptr {ATTRIBUTES}, ptr {worker}, ptr %pool)
  %bad = icmp ne i32 %failed, 0
  br i1 %bad, label %over, label %good
good:
  %number = add i64 %made, 1
  store i64 %number, ptr %made.at, align 8
  br label %next
over:
{_forgotten()}  br label %leave
leave:
  ret void
}}

define internal i32 {run}(ptr %pool, ptr %task, ptr %context, i64 %count) nounwind noinline {{
entry:
  %several = icmp sgt i64 %count, 1
  br i1 %several, label %shared, label %few
few:
  %alone = icmp eq i64 %count, 1
  br i1 %alone, label %single, label %nothing
nothing:
  ret i32 0
single:
  %only = call i32 %task(ptr %context, i64 0)
  ret i32 %only
shared:
  %wanted = sub i64 %count, 1
  call void {grow}(ptr %pool, i64 %wanted)
  %done.at = getelementptr i64, ptr %pool, i64 {DONE}
  %code.at = getelementptr i64, ptr %pool, i64 {CODE}
  %task.at = getelementptr i64, ptr %pool, i64 {TASK}
  %context.at = getelementptr i64, ptr %pool, i64 {CONTEXT}
  store i64 0, ptr %done.at, align 8
  store i64 0, ptr %code.at, align 8
  store ptr %task, ptr %task.at, align 8
  store ptr %context, ptr %context.at, align 8
  %old = load i64, ptr %pool, align 8
  %loop = and i64 %old, -4294967296
  %fresh = add i64 %loop, 4294967296
  %rounds = shl i64 %count, 16
  %numbered = or i64 %fresh, %rounds
  %word = or i64 %numbered, 1
  store atomic i64 %word, ptr %pool release, align 8
  br label %work
work:
  %round = phi i64 [0, %shared], [%another, %claiming]
  %made = phi i64 [0, %shared], [%own, %claiming]
  %worst = phi i32 [0, %shared], [%worse, %claiming]
  %code = call i32 %task(ptr %context, i64 %round)
  %larger = icmp ugt i32 %code, %worst
  %worse = select i1 %larger, i32 %code, i32 %worst
  %own = add i64 %made, 1
  br label %claiming
claiming:
  %another = call i64 {claim}(ptr %pool)
  %some = icmp sge i64 %another, 0
  br i1 %some, label %work, label %join
join:
  %theirs = sub i64 %count, %own
  br label %look
look:
  %spins = phi i64 [0, %join], [%more, %again], [%more, %rest]
  %done = load atomic i64, ptr %done.at acquire, align 8
  %ready = icmp sge i64 %done, %theirs
  br i1 %ready, label %finish, label %again
again:
  %more = add i64 %spins, 1
  %long = icmp ugt i64 %spins, {SPINS}
  br i1 %long, label %rest, label %look
rest:
  call i32 @sched_yield()
  br label %look
finish:
  %found = load i64, ptr %code.at, align 8
  %other = trunc i64 %found to i32
  %above = icmp ugt i32 %other, %worse
  %result = select i1 %above, i32 %other, i32 %worse
  ret i32 %result
}}

define internal void {close}(ptr %pool) nounwind noinline {{
entry:
  %made.at = getelementptr i64, ptr %pool, i64 {MADE}
  %made = load i64, ptr %made.at, align 8
  store atomic i64 -1, ptr %pool release, align 8
{_fetched()}  br label %joining
joining:
  br label %next
next:
  %k = phi i64 [0, %joining], [%following, %join]
  %open = icmp slt i64 %k, %made
  br i1 %open, label %join, label %leave
join:
  %at = add i64 %k, {HANDLES}
  %handle.at = getelementptr i64, ptr %pool, i64 %at
  %handle = load i64, ptr %handle.at, align 8
  call i32 @pthread_join(i64 %handle, ptr null)
  %following = add i64 %k, 1
  br label %next
leave:
  ret void
}}
"""


def open_pool(e: Body) -> None:
    """An empty pool in the frame of the kernel's entry."""
    e.entry.append(f"  {POOL} = alloca [{WORDS} x i64], align 64")
    e.context.declare("llvm.memset.p0.i64", "void", ["ptr", "i8", "i64", "i1"])
    e.line(f"  call void @llvm.memset.p0.i64(ptr align 64 {POOL}, i8 0, i64 {8 * HANDLES}, i1 false)")


def close_pool(e: Body) -> None:
    """Ends the threads, and waits for it."""
    e.line(f"  call void {quoted(e.context.name + '.close')}(ptr {POOL})")


def emit_parallel(e: Body, s: Loop) -> None:
    """The body as a function, a frame with what it needs from here, and the call that runs all rounds."""
    context = e.context
    if not e.has_threads:
        _declare(context)
        context.functions.append(_pool_functions(context.name))
    e.has_threads = e.has_loops = True
    name = f"{context.name}.part{len(context.functions)}"
    inner = Body(context, f"{name}.body")
    inner.buffers, inner.numbers = {}, e.numbers
    slots: list[tuple[str, str, str]] = []  # type, text here, text there

    def pass_on(type_: str, here: str) -> str:
        slots.append((type_, here, f"%p{len(slots)}"))
        return slots[-1][2]

    statements = list(walk(s.body))
    for buffer in dict.fromkeys(b for statement in statements for b, _ in buffers(statement)):
        inner.buffers[buffer] = pass_on("ptr", e.buffers[buffer])
    for size, text in e.sizes.items():
        inner.sizes[size] = pass_on("i64", text)
    for value in _taken(s, statements):
        if value in e.affine and e.affine[value][0] is None:
            inner.values[value], inner.affine[value] = e.values[value], e.affine[value]
        else:
            inner.values[value] = pass_on(e.type(value.kind, value.lanes), e.values[value])
    inner.values[s.variable] = "%round"
    inner.block(s.body)
    inner.line("  ret i32 0")
    for buffer in inner.frame_buffers():
        inner.entry.append(f"  {inner.buffers[buffer]} = alloca [{buffer.size} x {memory_type(context, buffer.kind)}], align 64")
    parameters = [f"{type_} {'noalias ' if type_ == 'ptr' else ''}{there}" for type_, _, there in slots]
    header = f"define internal i32 {quoted(inner.name)}({', '.join([*parameters, 'i64 %round'])}) noinline nounwind"
    context.functions.append(inner.text(header))
    context.functions.append(_unpack(name, inner.name, [type_ for type_, _, _ in slots]))
    frame = e.in_entry(f"alloca [{max(1, len(slots))} x ptr], align 64")
    for k, (type_, here, _) in enumerate(slots):
        place = here
        if type_ != "ptr":
            place = e.in_entry(f"alloca {type_}")
            e.line(f"  store {type_} {here}, ptr {place}")
        e.line(f"  store ptr {place}, ptr {e.emit(f'getelementptr ptr, ptr {frame}, i64 {k}')}")
    count = e.index(s.stop)
    code = e.emit(f"call i32 {quoted(context.name + '.run')}(ptr {POOL}, ptr {quoted(name)}, ptr {frame}, i64 {count})")
    e.leave(e.emit(f"icmp ne i32 {code}, 0"), code)


def _taken(s: Loop, statements: list[Statement]) -> list[Value]:
    """The values that the body reads and does not make."""
    own = {s.variable, *(x.variable for x in statements if isinstance(x, Loop))}
    own.update(v for x in statements if (v := made(x)) is not None)
    return list(dict.fromkeys(v for x in statements for v in values(x) if v not in own))


def _unpack(name: str, inner: str, types: list[str]) -> str:
    """The function that the pool calls: takes everything out of the frame."""
    lines, arguments = [], []
    for k, type_ in enumerate(types):
        lines.append(f"  %a{k} = getelementptr ptr, ptr %frame, i64 {k}")
        lines.append(f"  %x{k} = load ptr, ptr %a{k}, align 8")
        if type_ != "ptr":
            lines.append(f"  %y{k} = load {type_}, ptr %x{k}")
        arguments.append(f"{type_} %{'x' if type_ == 'ptr' else 'y'}{k}")
    call = f"  %code = call i32 {quoted(inner)}({', '.join([*arguments, 'i64 %round'])})"
    header = f"define internal i32 {quoted(name)}(ptr %frame, i64 %round) nounwind {{"
    return "\n".join([header, "entry:", *lines, call, "  ret i32 %code", "}", ""])


def _declare(context: Context) -> None:
    context.declare("pthread_create", "i32", ["ptr", "ptr", "ptr", "ptr"])
    context.declare("pthread_join", "i32", ["i64", "ptr"])
    context.declare("sched_yield", "i32", [])
    if PLACED:
        context.declare("llvm.memcpy.p0.p0.i64", "void", ["ptr", "ptr", "i64", "i1"])
        context.declare(f"llvm.vector.reduce.or.v{WORDS_ALLOWED}i64", "i64", [f"<{WORDS_ALLOWED} x i64>"])
        context.declare("pthread_attr_init", "i32", ["ptr"])
        context.declare("pthread_attr_destroy", "i32", ["ptr"])
        context.declare("pthread_attr_setaffinity_np", "i32", ["ptr", "i64", "ptr"])
        context.declare("pthread_setaffinity_np", "i32", ["i64", "i64", "ptr"])
        context.declare("sched_getcpu", "i32", [])
        context.declare("sched_getaffinity", "i32", ["i32", "i64", "ptr"])
        context.declare("sched_setaffinity", "i32", ["i32", "i64", "ptr"])
