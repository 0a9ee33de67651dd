"""System call numbers that the filter names, for x86-64 and aarch64.

Source: Linux `asm/unistd_64.h` and `asm-generic/unistd.h`; a test compares them with the installed headers. A call
that an architecture lacks is absent from its column.
"""

from __future__ import annotations

from typing import Final

# Denied with EPERM whatever the arguments.
_DENIED: Final = """
    _sysctl             156   -
    acct                163  89
    add_key             248 217
    adjtimex            159 171
    bpf                 321 280
    chroot              161  51
    clock_adjtime       305 266
    clock_settime       227 112
    create_module       174   -
    delete_module       176 106
    fanotify_init       300 262
    finit_module        313 273
    fsconfig            431 431
    fsmount             432 432
    fsopen              430 430
    fspick              433 433
    get_kernel_syms     177   -
    init_module         175 105
    ioperm              173   -
    iopl                172   -
    kcmp                312 272
    kexec_file_load     320 294
    kexec_load          246 104
    keyctl              250 219
    listmount           458 458
    lookup_dcookie      212  18
    mbind               237 235
    memfd_secret        447 447
    migrate_pages       256 238
    modify_ldt          154   -
    mount               165  40
    mount_setattr       442 442
    move_mount          429 429
    move_pages          279 239
    name_to_handle_at   303 264
    nfsservctl          180  42
    open_by_handle_at   304 265
    open_tree           428 428
    open_tree_attr      467 467
    perf_event_open     298 241
    personality         135  92
    pidfd_getfd         438 438
    pivot_root          155  41
    process_madvise     440 440
    process_vm_readv    310 270
    process_vm_writev   311 271
    ptrace              101 117
    query_module        178   -
    quotactl            179  60
    quotactl_fd         443 443
    reboot              169 142
    request_key         249 218
    set_mempolicy       238 237
    set_mempolicy_home_node 450 450
    setdomainname       171 162
    sethostname         170 161
    setns               308 268
    settimeofday        164 170
    statmount           457 457
    swapoff             168 225
    swapon              167 224
    sysfs               139   -
    syslog              103 116
    umount2             166  39
    unshare             272  97
    uselib              134   -
    userfaultfd         323 282
    ustat               136   -
    vhangup             153  58
    vmsplice            278  75
"""

# Denied with ENOSYS: programs then fall back to what they did before these calls existed.
_ABSENT: Final = """
    clone3              435 435
    io_uring_enter      426 426
    io_uring_register   427 427
    io_uring_setup      425 425
"""

# Where steps share the machine's namespaces (`seccomp.shared_program`). Denied with EPERM: there is no socket to use
# them on, or they reach others' processes.
_SHARED_DENIED: Final = """
    bind                 49 200
    connect              42 203
    process_mrelease    448 448
"""

# With ENOSYS: objects that outlive a step, and looks at what others' files and directories do.
_SHARED_ABSENT: Final = """
    file_getattr        468 468
    file_setattr        469 469
    futimesat           261   -
    inotify_init        253   -
    inotify_init1       294  26
    mq_open             240 180
    mq_unlink           241 181
    msgget               68 186
    semget               64 190
    setxattrat          463 463
    removexattrat       466 466
    shmget               29 194
    utime               132   -
    utimes              235   -
"""

# With EOPNOTSUPP, as on a file system without extended attributes: Landlock does not guard them.
_SHARED_UNSUPPORTED: Final = """
    fremovexattr        199  16
    fsetxattr           190   7
    lremovexattr        198  15
    lsetxattr           189   6
    removexattr         197  14
    setxattr            188   5
"""

# Asked of the supervisor: Landlock does not guard modes, owners and times.
_SHARED_ASKED: Final = """
    chmod                90   -
    chown                92   -
    fchmod               91  52
    fchmodat            268  53
    fchmodat2           452 452
    fchown               93  55
    fchownat            260  54
    lchown               94   -
    utimensat           280  88
"""

# Allowed for the caller itself: the number of the argument that names a process, which must be 0.
_SHARED_OWN: Final = """
    ioprio_set          251  30
    prlimit64           302 261
    sched_setaffinity   203 122
    sched_setattr       314 274
    sched_setparam      142 118
    sched_setscheduler  144 119
    setpriority         141 140
"""

# Allowed or denied by their arguments.
_CONDITIONAL: Final = """
    clone                56 220
    ioctl                16  29
    mknod               133   -
    mknodat             259  33
    socket               41 198
    socketpair           53 199
"""


def _column(table: str, index: int) -> dict[str, int]:
    rows = (line.split() for line in table.split("\n") if line.strip())
    return {row[0]: int(row[index]) for row in rows if row[index] != "-"}


class Machine:
    """One architecture's numbers. `audit` is its AUDIT_ARCH value; `x32` says whether the x32 ABI exists."""

    def __init__(self, column: int, audit: int, *, x32: bool) -> None:
        self.denied = _column(_DENIED, column)
        self.absent = _column(_ABSENT, column)
        self.conditional = _column(_CONDITIONAL, column)
        self.shared_denied = _column(_SHARED_DENIED, column)
        self.shared_absent = _column(_SHARED_ABSENT, column)
        self.shared_unsupported = _column(_SHARED_UNSUPPORTED, column)
        self.shared_asked = _column(_SHARED_ASKED, column)
        self.shared_own = _column(_SHARED_OWN, column)
        self.audit = audit
        self.x32 = x32


MACHINES: Final = {
    "x86_64": Machine(1, 0xC000003E, x32=True),
    "aarch64": Machine(2, 0xC00000B7, x32=False),
}
