/**
 * Optical drives as SCSI and ATAPI show them. What they share with disks is in regs.ts.
 *
 * [1] MMC-3, T10/1363-D revision 10g
 * [2] MMC-2, T10/1228-D revision 11a
 * [3] ECMA-130, Data interchange on read-only 120 mm optical data disks
 */

// Operation codes ([1], [2]).
export const OP_READ_TOC = 0x43;
export const OP_GET_CONFIGURATION = 0x46;
export const OP_GET_EVENT_STATUS = 0x4a;
export const OP_READ_DISC_INFORMATION = 0x51;
export const OP_READ_TRACK_INFORMATION = 0x52;
export const OP_READ_DVD_STRUCTURE = 0xad;
export const OP_READ_CD_MSF = 0xb9;
export const OP_SET_CD_SPEED = 0xbb;
export const OP_MECHANISM_STATUS = 0xbd;
export const OP_READ_CD = 0xbe;

/** Additional sense codes beside those of regs.ts. */
export const ASC_BECOMING_READY = 0x0401;
export const ASC_MEDIUM_CHANGED = 0x2800;
export const ASC_INCOMPATIBLE_MEDIUM = 0x3002;
export const ASC_SAVING_NOT_SUPPORTED = 0x3900;
export const ASC_NO_MEDIUM = 0x3a00;
export const ASC_NO_MEDIUM_CLOSED = 0x3a01;
export const ASC_NO_MEDIUM_OPEN = 0x3a02;
export const ASC_REMOVAL_PREVENTED = 0x5302;
export const ASC_WRONG_TRACK_MODE = 0x6400;

/** Peripheral device type, and byte 1 of INQUIRY: the medium is removable. */
export const INQUIRY_OPTICAL = 0x05;
export const INQUIRY_REMOVABLE = 0x80;

/** Blocks of the longest CD, 80 minutes; what has more is a DVD. */
export const CD_BLOCKS = 360000;
/** Blocks, or frames, of a second; seconds of a minute; frames before block 0 ([3]). */
export const CD_FRAMES = 75;
export const CD_SECONDS = 60;
export const CD_PREGAP = 150;
/** Control and ADR of the one track: data, digital copy prohibited; position ([2] READ TOC). */
export const TRACK_DATA = 0x14;
export const TRACK_LEAD_OUT = 0xaa;
/** Byte 1 of READ TOC: addresses as minutes, seconds, frames. */
export const TOC_MSF = 0x02;
/** Formats of READ TOC. */
export const TOC_TRACKS = 0;
export const TOC_SESSIONS = 1;
export const TOC_FULL = 2;

/** START STOP UNIT: byte 1, byte 4. */
export const LOAD_IMMEDIATE = 0x01;
export const LOAD_START = 0x01;
export const LOAD_EJECT = 0x02;

/** Feature numbers, and profiles ([1], features). */
export const FEATURE_PROFILES = 0x0000;
export const FEATURE_CORE = 0x0001;
export const FEATURE_MORPHING = 0x0002;
export const FEATURE_REMOVABLE = 0x0003;
export const FEATURE_RANDOM_READ = 0x0010;
export const FEATURE_MULTI_READ = 0x001d;
export const FEATURE_CD_READ = 0x001e;
export const FEATURE_DVD_READ = 0x001f;
export const FEATURE_POWER = 0x0100;
export const FEATURE_TIMEOUT = 0x0105;
export const PROFILE_CD_ROM = 0x0008;
export const PROFILE_DVD_ROM = 0x0010;
/** Third byte of a feature: it is current, it always is. */
export const FEATURE_CURRENT = 0x01;
export const FEATURE_PERSISTENT = 0x02;

/** GET EVENT STATUS NOTIFICATION: polled (byte 1), the media class and its bit, no event available. */
export const EVENT_POLLED = 0x01;
export const EVENT_MEDIA = 4;
export const EVENT_MEDIA_BIT = 0x10;
export const EVENT_NONE_AVAILABLE = 0x80;
export const EVENT_BYTES = 8;

/** Mode pages. */
export const MODE_CD_DEVICE = 0x0d;
export const MODE_POWER = 0x1a;
export const MODE_TIMEOUT = 0x1d;
export const MODE_CAPABILITIES = 0x2a;

/** READ DVD STRUCTURE: formats; bytes behind the header of those that are long. */
export const DVD_PHYSICAL = 0x00;
export const DVD_COPYRIGHT = 0x01;
export const DVD_MANUFACTURING = 0x04;
export const DVD_LIST = 0xff;
export const DVD_LAYER_BYTES = 2048;
/** First physical sector of a DVD's data area. */
export const DVD_FIRST_SECTOR = 0x30000;

/** READ CD, byte 9: what of a block is to come. */
export const CD_SYNC = 0x80;
export const CD_SUBHEADER = 0x40;
export const CD_HEADER = 0x20;
export const CD_USER_DATA = 0x10;
export const CD_EDC_ECC = 0x08;
/** C2 error bits, and those that are reserved. */
export const CD_REFUSED = 0x07;
/** Byte 1: the type of block that is expected, of which any or mode 1 is there. */
export const CD_TYPE_MASK = 0x1c;
export const CD_TYPE_ANY = 0x00;
export const CD_TYPE_MODE_1 = 0x08;
/** A block of mode 1 ([3], sectors): bytes of its fields, in order. */
export const CD_SYNC_BYTES = 12;
export const CD_HEADER_BYTES = 4;
export const CD_DATA_BYTES = 2048;
export const CD_EDC_ECC_BYTES = 288;
export const CD_RAW_BYTES = 2352;
/** Most blocks of one READ CD that asks for more than their data. */
export const CD_RAW_BLOCKS = 27;
