/**
 * SCSI as initiators and targets speak it: operation codes, status, sense, mode and vital product data pages.
 *
 * [1] SPC-3, T10/1416-D revision 23
 * [2] SBC-2, T10/1417-D revision 16; SBC-3 for UNMAP and the B2h page
 * [3] SPI-2, T10/1142-D
 */

// Operation codes, [1] table 73 and [2] table 13; the older ones from SCSI-2 (X3.131-1994).
export const OP_TEST_UNIT_READY = 0x00;
export const OP_REZERO_UNIT = 0x01;
export const OP_REQUEST_SENSE = 0x03;
export const OP_FORMAT_UNIT = 0x04;
export const OP_READ_6 = 0x08;
export const OP_WRITE_6 = 0x0a;
export const OP_SEEK_6 = 0x0b;
export const OP_INQUIRY = 0x12;
export const OP_MODE_SELECT_6 = 0x15;
export const OP_RESERVE_6 = 0x16;
export const OP_RELEASE_6 = 0x17;
export const OP_MODE_SENSE_6 = 0x1a;
export const OP_START_STOP_UNIT = 0x1b;
export const OP_SEND_DIAGNOSTIC = 0x1d;
export const OP_PREVENT_ALLOW = 0x1e;
export const OP_READ_CAPACITY_10 = 0x25;
export const OP_READ_10 = 0x28;
export const OP_WRITE_10 = 0x2a;
export const OP_SEEK_10 = 0x2b;
export const OP_WRITE_VERIFY_10 = 0x2e;
export const OP_VERIFY_10 = 0x2f;
export const OP_SYNCHRONIZE_CACHE_10 = 0x35;
export const OP_READ_DEFECT_DATA_10 = 0x37;
export const OP_WRITE_SAME_10 = 0x41;
export const OP_UNMAP = 0x42;
export const OP_MODE_SELECT_10 = 0x55;
export const OP_RESERVE_10 = 0x56;
export const OP_RELEASE_10 = 0x57;
export const OP_MODE_SENSE_10 = 0x5a;
export const OP_READ_16 = 0x88;
export const OP_WRITE_16 = 0x8a;
export const OP_WRITE_VERIFY_16 = 0x8e;
export const OP_VERIFY_16 = 0x8f;
export const OP_SYNCHRONIZE_CACHE_16 = 0x91;
export const OP_WRITE_SAME_16 = 0x93;
export const OP_SERVICE_ACTION_IN_16 = 0x9e;
export const OP_REPORT_LUNS = 0xa0;
export const OP_MAINTENANCE_IN = 0xa3;
export const OP_READ_12 = 0xa8;
export const OP_WRITE_12 = 0xaa;
export const OP_WRITE_VERIFY_12 = 0xae;
export const OP_VERIFY_12 = 0xaf;
export const OP_READ_DEFECT_DATA_12 = 0xb7;

/** Service action of OP_SERVICE_ACTION_IN_16, [2] 5.11. */
export const SA_READ_CAPACITY_16 = 0x10;
export const SA_REPORT_OPCODES = 0x0c;

// Bits of command descriptor blocks.
/** DPO and FUA, byte 1 of the longer reads and writes, [2] 5.6. */
export const CDB_DPO = 0x10;
export const CDB_FUA = 0x08;
/** Protection field, byte 1: no protection information here. */
export const CDB_PROTECT = 0xe0;
/** VERIFY byte 1, SBC-3 5.33: compare with data from the initiator; the field that this is a value of. */
export const CDB_BYTCHK = 0x02;
export const CDB_BYTCHK_FIELD = 0x06;
/** WRITE SAME byte 1, [2] and SBC-3 5.43: deallocate, anchor, and the obsolete LBDATA and PBDATA. */
export const CDB_UNMAP = 0x08;
export const CDB_ANCHOR = 0x10;
export const CDB_LBDATA = 0x06;
/** WRITE SAME (16) byte 1, SBC-3 5.44: no block comes, zeroes are written. */
export const CDB_NDOB = 0x01;
/** UNMAP byte 1. */
export const CDB_UNMAP_ANCHOR = 0x01;
/** INQUIRY byte 1. */
export const CDB_EVPD = 0x01;
/** MODE SENSE byte 1: no block descriptors; long block descriptors. */
export const CDB_DBD = 0x08;
export const CDB_LLBAA = 0x10;
/** MODE SELECT byte 1: save. */
export const CDB_SP = 0x01;
/** READ CAPACITY: partial medium indicator. */
export const CDB_PMI = 0x01;
/** FORMAT UNIT byte 1: a parameter list follows; with protection information. */
export const CDB_FMTDATA = 0x10;
export const CDB_FMTPINFO = 0xc0;
/** REQUEST SENSE byte 1: descriptor format. */
export const CDB_DESC = 0x01;
/** START STOP UNIT byte 4. */
export const CDB_START = 0x01;
/** Control byte, SAM-3 5.2: NACA, and the LINK and FLAG bits of linked commands. */
export const CONTROL_REFUSED = 0x07;

/** Status, SAM-3 5.3. */
export const STATUS_GOOD = 0x00;
export const STATUS_CHECK_CONDITION = 0x02;
export const STATUS_BUSY = 0x08;
export const STATUS_TASK_SET_FULL = 0x28;
export const STATUS_TASK_ABORTED = 0x40;

/** Sense keys, [1] table 27. */
export const KEY_NO_SENSE = 0x0;
export const KEY_NOT_READY = 0x2;
export const KEY_MEDIUM_ERROR = 0x3;
export const KEY_ILLEGAL_REQUEST = 0x5;
export const KEY_UNIT_ATTENTION = 0x6;
export const KEY_DATA_PROTECT = 0x7;
export const KEY_ABORTED_COMMAND = 0xb;
export const KEY_MISCOMPARE = 0xe;

/** Additional sense code and qualifier in one number, [1] table 28. */
export const ASC_NONE = 0x0000;
export const ASC_STOPPED = 0x0402;
export const ASC_FORMATTING = 0x0404;
export const ASC_WRITE_ERROR = 0x0c00;
export const ASC_READ_ERROR = 0x1100;
export const ASC_PARAMETER_LENGTH = 0x1a00;
export const ASC_MISCOMPARE = 0x1d00;
export const ASC_INVALID_OPCODE = 0x2000;
export const ASC_LBA_RANGE = 0x2100;
export const ASC_INVALID_CDB_FIELD = 0x2400;
export const ASC_NO_SUCH_UNIT = 0x2500;
export const ASC_INVALID_PARAMETER = 0x2600;
export const ASC_WRITE_PROTECTED = 0x2700;
export const ASC_SPACE_FAILED = 0x2707;
export const ASC_RESET = 0x2900;
export const ASC_CAPACITY_CHANGED = 0x2a09;
export const ASC_INITIATOR_ERROR = 0x4800;
export const ASC_OVERLAPPED = 0x4e00;

/** Fixed-format sense data, [1] 4.5.3. */
export const SENSE_BYTES = 18;
export const SENSE_AT_RESPONSE = 0;
export const SENSE_AT_KEY = 2;
export const SENSE_AT_INFORMATION = 3;
export const SENSE_AT_LENGTH = 7;
export const SENSE_AT_ASC = 12;
export const SENSE_AT_ASCQ = 13;
/** Response code: current error, fixed format; with the bit that the information field is valid. */
export const SENSE_CURRENT = 0x70;
export const SENSE_VALID = 0x80;
/** Descriptor format, [1] 4.5.2: response code, bytes of the header and of the information descriptor. */
export const SENSE_CURRENT_DESCRIPTOR = 0x72;
export const SENSE_HEADER_BYTES = 8;
export const SENSE_INFORMATION_BYTES = 12;

/** Standard INQUIRY data, [1] 6.4.2. */
export const INQUIRY_BYTES = 96;
export const INQUIRY_AT_DEVICE = 0;
/** Byte 7, and in it: tagged tasks, synchronous transfers, 16 bits of data. */
export const INQUIRY_AT_FLAGS = 7;
export const INQUIRY_CMDQUE = 0x02;
export const INQUIRY_SYNC = 0x10;
export const INQUIRY_WIDE = 0x20;
export const INQUIRY_AT_VENDOR = 8;
export const INQUIRY_AT_PRODUCT = 16;
export const INQUIRY_AT_REVISION = 32;
/** Qualifier 3, type 1Fh: the target can have no unit at this number. */
export const INQUIRY_ABSENT = 0x7f;
export const INQUIRY_VERSION_SPC3 = 0x05;

/** Vital product data pages, [1] 7.6 and SBC-3 6.6. */
export const VPD_SUPPORTED = 0x00;
export const VPD_SERIAL = 0x80;
export const VPD_IDENTIFICATION = 0x83;
export const VPD_BLOCK_LIMITS = 0xb0;
export const VPD_CHARACTERISTICS = 0xb1;
export const VPD_PROVISIONING = 0xb2;

/** Mode pages, [1] 7.4 and [2] 6.3. */
export const MODE_RECOVERY = 0x01;
export const MODE_CACHING = 0x08;
export const MODE_CONTROL = 0x0a;
export const MODE_ALL = 0x3f;
/** In MODE_CACHING, byte 2. */
export const CACHING_WCE = 0x04;
export const CACHING_RCD = 0x01;
/** Page control, byte 2 of MODE SENSE, bits 7 and 6. */
export const PC_CURRENT = 0;
export const PC_CHANGEABLE = 1;
export const PC_DEFAULT = 2;
export const PC_SAVED = 3;
/** Device-specific parameter, [2] 6.3.1. */
export const MODE_WRITE_PROTECTED = 0x80;
export const MODE_DPOFUA = 0x10;

/** Most blocks that one command moves, and most ranges of one UNMAP (the block limits page says so). */
export const MAX_TRANSFER_BLOCKS = 0x10000;
export const MAX_UNMAP_RANGES = 16;

/** Which way a command's data goes. */
export const DATA_NONE = 0;
export const DATA_IN = 1;
export const DATA_OUT = 2;
