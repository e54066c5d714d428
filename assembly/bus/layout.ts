/**
 * Where things lie in the module's memory. Both sides import this file: the models address the machine
 * header by these constants, the host lays its typed-array views over them.
 *
 * The module has no mutable global: everything that a snapshot must hold lies between ARENA_BASE and the
 * top of the arena. Every number is one literal, valid AssemblyScript and valid TypeScript.
 */

/** First byte of the arena; above the heap base (static data) of the release and of the debug flavour. */
export const ARENA_BASE = 0x10000;
/** Raised whenever the meaning of a byte in the arena changes; a snapshot of another version is refused. */
export const LAYOUT_VERSION = 6;

// Machine header.
export const AT_MAGIC = 0x10000;
export const AT_VERSION = 0x10004;
/** First byte of the arena that is not reserved yet. */
export const AT_ARENA_TOP = 0x10008;
/** The arena may grow to here; tables follow. */
export const AT_ARENA_END = 0x1000c;
/** Virtual time in ns, 64 bit. */
export const AT_NOW = 0x10010;
/** Interrupt lines that are asserted now, one bit a line (0–31). */
export const AT_IRQ_LINES = 0x10018;
/** Counts every change of a line and every message, so that the host sees an edge between two polls. */
export const AT_IRQ_CHANGES = 0x1001c;
/** How many devices assert each line: 32 bytes. */
export const AT_IRQ_COUNTS = 0x10020;
/** Message-signalled vectors that are pending: 256 bits. */
export const AT_MSI_PENDING = 0x10040;
/** Number of RAM regions. */
export const AT_RAM_COUNT = 0x10060;
/** Pages of RAM in all. */
export const AT_RAM_PAGES = 0x10064;
/** Event queue: heap size, next sequence number. */
export const AT_EVENT_COUNT = 0x10068;
export const AT_EVENT_SEQUENCE = 0x1006c;
/** Devices: count, and the offsets of their blocks further down. */
export const AT_DEVICE_COUNT = 0x10070;
/** Media: count of disks. */
export const AT_DISK_COUNT = 0x10074;
/** Head of the list of free media requests (offset of the request, 0: none left). */
export const AT_REQUEST_FREE = 0x10078;
/** Media requests that wait for the host. */
export const AT_HOST_PENDING = 0x1007c;
/** Non-zero: the mask of trace events to record (one bit an event code). */
export const AT_TRACE_MASK = 0x10080;
/** Trace ring: events written since the start, events lost because the ring was full, events read. */
export const AT_TRACE_WRITTEN = 0x10084;
export const AT_TRACE_LOST = 0x10088;
export const AT_TRACE_READ = 0x1008c;
/** Guard: which checks are on (GUARD_* bits), and where its tables lie. */
export const AT_GUARD_FLAGS = 0x10090;
export const AT_GUARD_PAGES = 0x10094;
export const AT_GUARD_NODES = 0x10098;
export const AT_GUARD_NODE_FREE = 0x1009c;
export const AT_GUARD_MAPPINGS = 0x100a0;
export const AT_GUARD_MAPPING_CAPACITY = 0x100a4;
export const AT_GUARD_INIT = 0x100a8;
export const AT_GUARD_FINDINGS = 0x100ac;
/** Findings recorded since the last drain, and those for which no room was left. */
export const AT_GUARD_FINDING_COUNT = 0x100b0;
export const AT_GUARD_FINDING_LOST = 0x100b4;
/** Guard mappings that are live now; the head of the list of free slots; nodes that are free. */
export const AT_GUARD_LIVE = 0x100b8;
export const AT_GUARD_MAPPING_FREE = 0x100bc;
export const AT_GUARD_NODES_LEFT = 0x100f0;
/** Data mover: the state of the one transfer in hand (never alive across a call into the module). */
export const AT_MOVE_SOURCE = 0x100c0;
export const AT_MOVE_BUFFER = 0x100c4;
export const AT_MOVE_TO_MEMORY = 0x100c8;
export const AT_MOVE_OFFSET = 0x100d0;
export const AT_MOVE_RUNS = 0x100d8;
export const AT_MOVE_STATUS = 0x100dc;
export const AT_MOVE_FAULT = 0x100e0;
export const AT_MOVE_PENDING_BYTES = 0x100e4;
/** Fault plan entries in use. */
export const AT_FAULT_COUNT = 0x100e8;
/** RAM regions: up to RAM_MAX entries of RAM_STRIDE bytes. */
export const AT_RAM = 0x10100;
export const RAM_MAX = 16;
export const RAM_STRIDE = 32;
/**
 * In a region: first physical address (64 bit), bytes, offset in the module's memory (0: the host has the bytes), first
 * page's number.
 */
export const RAM_START = 0;
export const RAM_BYTES = 8;
export const RAM_OFFSET = 12;
export const RAM_FIRST_PAGE = 16;
/** Device blocks: one offset each. */
export const AT_DEVICES = 0x10300;
export const DEVICE_MAX = 64;
/** Disks: one offset each. */
export const AT_DISKS = 0x10400;
export const DISK_MAX = 128;

/** Events in the queue that are a model's own: they leave room for one event of every media request. */
export const AT_EVENT_OWN = 0x10600;
/** Sequence number of the event that was delivered last. */
export const AT_EVENT_CURRENT = 0x10604;
/** Interrupt changes that the host knows of; non-zero: run() broke off for the host, and they still count. */
export const AT_RUN_CHANGES = 0x10608;
export const AT_RUN_BROKE_OFF = 0x1060c;
/** Data mover: non-zero where the request ends early, so that each segment is compared with that end. */
export const AT_MOVE_LIMITED = 0x10610;
/** Data mover: non-zero where memory is compared with the medium; set when they were found to differ. */
export const AT_MOVE_COMPARES = 0x10614;
export const AT_MOVE_DIFFERS = 0x10618;
/** Windows of on-chip memory (window.ts): how many there are. */
export const AT_WINDOW_COUNT = 0x1061c;
/**
 * Pages that changed since the last snapshot (dirty.ts): a PAGE_* flag for each page of the memory, the numbers of
 * those that changed, and how many. The tables lie behind the arena.
 */
export const AT_DIRTY_FLAGS = 0x10630;
export const AT_DIRTY_LIST = 0x10634;
export const AT_DIRTY_COUNT = 0x10638;
export const PAGE_CLEAN = 0;
/** A snapshot takes the page whatever happens: nobody says when it changes. */
export const PAGE_FIXED = 1;
export const PAGE_CHANGED = 2;
/** End of the media requests that were ever in use; those behind it are as they were at first. */
export const AT_REQUEST_USED = 0x1063c;
/** First byte behind the memory. */
export const AT_MEMORY_END = 0x10640;
/** Media requests that are parked, and how many ever were: the order in which they go on. */
export const AT_PARKED_COUNT = 0x10644;
export const AT_PARKED_SEQUENCE = 0x10648;
/** What media tell the host (notice.ts): how many notices wait, and the notices, NOTICE_STRIDE bytes each. */
export const AT_NOTICE_COUNT = 0x1064c;
export const AT_NOTICES = 0x10700;
export const NOTICE_MAX = 16;
export const NOTICE_STRIDE = 16;
/** Data mover: non-zero where some of the runs are in memory that the host has. */
export const AT_MOVE_EXTERNAL = 0x10650;
/** Non-zero: messages that no RAM takes are listed for the host, and how many are (irq.ts). */
export const AT_MESSAGES_WANTED = 0x10654;
export const AT_MESSAGE_COUNT = 0x10658;
/** Set by the host: which machine of several in one guest this is, 0 to MACHINE_NUMBER_MAX (arena.ts: uniqueId). */
export const AT_MACHINE_NUMBER = 0x1065c;
export const MACHINE_NUMBER_MAX = 4095;

/** Where the host puts arguments that are longer than a register: profiles, fault plans, strings. */
export const AT_SCRATCH = 0x10800;
export const SCRATCH_BYTES = 0x800;

/**
 * The runs of memory that the transfer in hand goes through: pairs of offset and length. An offset of 0 is a run of the
 * host's memory, whose address stands at the same place of AT_RUN_ADDRESSES.
 */
export const AT_RUNS = 0x11000;
export const RUN_MAX = 4096;
export const RUN_STRIDE = 8;
/** A page of ones, which a device reads where no RAM is, and a page that swallows what it writes there. */
export const AT_ONES = 0x19000;
export const AT_NOWHERE = 0x1a000;
/** The event queue: a binary heap of EVENT_MAX entries, of which siblings lie in one cache line. */
export const AT_EVENTS = 0x1b020;
export const EVENT_MAX = 8192;
export const EVENT_STRIDE = 32;
/** In an event: when it is due, 64 bit. The first of the heap is the next. */
export const EVENT_DUE = 0;
/**
 * Media requests, a cache line each. The host knows one by its number and, above REQUEST_BITS, how often that was
 * given away.
 */
export const AT_REQUESTS = 0x5b040;
export const REQUEST_MAX = 4096;
export const REQUEST_STRIDE = 64;
export const REQUEST_BITS = 12;
/** Fault plan. */
export const AT_FAULTS = 0x9c000;
export const FAULT_MAX = 256;
export const FAULT_STRIDE = 64;
/** Trace ring. */
export const AT_TRACE = 0xa0000;
export const TRACE_MAX = 4096;
export const TRACE_STRIDE = 48;
/** Windows of on-chip memory: up to WINDOW_MAX entries of WINDOW_STRIDE bytes. */
export const AT_WINDOWS = 0xd0000;
export const WINDOW_MAX = 64;
export const WINDOW_STRIDE = 48;
/** In a window: its device, the BAR, the first byte of that, bytes, offset in the module's memory. */
export const WINDOW_DEVICE = 0;
export const WINDOW_BAR = 4;
export const WINDOW_AT = 8;
export const WINDOW_BYTES = 12;
export const WINDOW_MEMORY = 16;
/** Who reaches it (bits below), what DMA may do there (DMA_* bits), and its address for its own device (64 bit). */
export const WINDOW_DECODE = 20;
export const WINDOW_ACCESS = 24;
export const WINDOW_BASE = 32;
/** The CPU and other devices, through the BAR; its own device, through the BAR; that, at WINDOW_BASE. */
export const WINDOW_HOST = 1;
export const WINDOW_SELF = 2;
export const WINDOW_DIRECT = 4;
/** Messages for the host: up to MESSAGE_MAX entries of MESSAGE_STRIDE bytes, address (64 bit) and data. */
export const AT_MESSAGES = 0xd1000;
export const MESSAGE_MAX = 256;
export const MESSAGE_STRIDE = 16;
/** Physical addresses (64 bit) of the runs that are in the host's memory. */
export const AT_RUN_ADDRESSES = 0xd2000;
/** A page for what is fetched from the host's memory to be compared. */
export const AT_COMPARED = 0xda000;
/** First byte that reserve() gives away. */
export const AT_FREE = 0xdb000;

export const PAGE_BYTES = 4096;
export const PAGE_SHIFT = 12;
