/** Numbers that cross the boundary between the host and the media. */

/** Kinds of medium: bytes in the module's memory, or the host's. */
export const DISK_RAM = 1;
export const DISK_HOST = 2;

/** Operations, and their bits in a fault plan's mask (1 << operation). */
export const MEDIA_READ = 0;
export const MEDIA_WRITE = 1;
export const MEDIA_FLUSH = 2;
/** Deallocate: the sectors read as zeroes afterwards. */
export const MEDIA_DISCARD = 3;
/** Write zeroes without data. */
export const MEDIA_ZERO = 4;
/** Read without moving data (verify). */
export const MEDIA_VERIFY = 5;

/** Status of a request. */
export const MEDIA_OK = 0;
/** The medium failed at Request.errorSector. */
export const MEDIA_ERROR = 1;
/** The host finishes later: EVENT_MEDIA_DONE follows. */
export const MEDIA_PENDING = 2;
export const MEDIA_READ_ONLY = 3;
export const MEDIA_NO_SPACE = 4;
/** The medium was taken out of its drive. */
export const MEDIA_GONE = 5;
/** The request goes beyond the disk's end, which may have come nearer while it was under way. */
export const MEDIA_RANGE = 6;

/**
 * What becomes of a request that the medium failed: the guest is told; it is parked until the host has it tried again.
 */
export const POLICY_REPORT = 0;
export const POLICY_STOP = 1;
/** Parked where there was no space, else reported. */
export const POLICY_NO_SPACE = 2;

/** Why a request is parked: failed before its data moved, or after; held by the fault plan. */
export const PARKED_DATA = 1;
export const PARKED_END = 2;
export const PARKED_HOLD = 3;

/** What notices tell the host (their first word); the second is the disk's number. */
export const NOTICE_TRAY = 1;
/** A request was parked for an error: its operation and the status. */
export const NOTICE_PARKED = 2;

/** Kinds of fault. */
export const FAULT_ERROR = 1;
/** Only the first `argument` bytes of the write reach the medium, and the write reports success. */
export const FAULT_TORN = 2;
/** The request takes `argument` ns longer. */
export const FAULT_DELAY = 3;
/** The request waits until the host releases what goes by the number `argument`. */
export const FAULT_HOLD = 4;

/** In a fault plan's entry. */
export const FAULT_AT_DISK = 0;
export const FAULT_AT_KIND = 4;
/** Mask of operations. */
export const FAULT_AT_OPERATIONS = 8;
/** Matching requests to let pass first, and how often to strike then (0: for ever). */
export const FAULT_AT_SKIP = 12;
export const FAULT_AT_TIMES = 16;
/** Requests that matched so far, and that were struck. */
export const FAULT_AT_MATCHED = 20;
export const FAULT_AT_STRUCK = 24;
/** First and last sector (64 bit each); a request that touches one of them matches. */
export const FAULT_AT_FIRST = 32;
export const FAULT_AT_LAST = 40;
/** 64 bit. */
export const FAULT_AT_ARGUMENT = 48;

/** Behind a disk's block: what the host calls it, each filled up with zeroes. Offsets and lengths. */
export const DISK_SERIAL = 0;
export const DISK_SERIAL_BYTES = 20;
export const DISK_MODEL = 20;
export const DISK_MODEL_BYTES = 40;
export const DISK_FIRMWARE = 60;
export const DISK_FIRMWARE_BYTES = 8;
export const DISK_TEXT_BYTES = 68;
