/**
 * ATA8-ACS (T13/1699-D) registers and commands; section numbers are of revision 6a. [3]: ATA/ATAPI-7 volume 1,
 * T13/1532D.
 */

/** Status register (6.1, table 10). */
export const ATA_STATUS_ERR = 0x01;
export const ATA_STATUS_DRQ = 0x08;
export const ATA_STATUS_DSC = 0x10;
/** Device fault. */
export const ATA_STATUS_DF = 0x20;
export const ATA_STATUS_DRDY = 0x40;
export const ATA_STATUS_BSY = 0x80;
/** What a device that is content shows. */
export const ATA_STATUS_GOOD = 0x50;

/** Error register (6.2). */
export const ATA_ERROR_ABRT = 0x04;
export const ATA_ERROR_IDNF = 0x10;
export const ATA_ERROR_UNC = 0x40;
export const ATA_ERROR_ICRC = 0x80;
/** Diagnostic code in the error register after a reset: passed (7.9.4). */
export const ATA_DIAGNOSTIC_PASSED = 0x01;

/** PACKET ([3]): bytes of a packet; feature register: data by DMA, overlap. */
export const ATA_PACKET_BYTES = 12;
export const ATA_PACKET_DMA = 0x01;
export const ATA_PACKET_OVERLAP = 0x02;
/** Its interrupt reason, in the count register: a command or its status, to the host. */
export const ATA_REASON_COMMAND = 0x01;
export const ATA_REASON_TO_HOST = 0x02;
/** What a device that takes packets leaves in the LBA registers ([3], signature). */
export const ATA_SIGNATURE_PACKET = 0xeb1401;
/** IDENTIFY PACKET DEVICE, word 0: an optical drive with a removable medium, DRQ within 50 us, packets of 12 bytes. */
export const ATA_ID_PACKET_CD = 0x85c0;

/** Device register: LBA addressing; FUA of the queued commands (7.62). */
export const ATA_DEVICE_LBA = 0x40;
export const ATA_DEVICE_FUA = 0x80;
/** Device register: the second device on a cable. */
export const ATA_DEVICE_SECOND = 0x10;
/** Device control register: software reset (SATA 2.6, 10.3.4). */
export const ATA_CONTROL_SRST = 0x04;

/** Commands (annex B). */
export const ATA_DATA_SET_MANAGEMENT = 0x06;
export const ATA_DEVICE_RESET = 0x08;
export const ATA_READ_SECTORS = 0x20;
export const ATA_READ_SECTORS_ONCE = 0x21;
export const ATA_READ_SECTORS_EXT = 0x24;
export const ATA_READ_DMA_EXT = 0x25;
export const ATA_READ_NATIVE_MAX_EXT = 0x27;
export const ATA_READ_MULTIPLE_EXT = 0x29;
export const ATA_READ_LOG_EXT = 0x2f;
export const ATA_WRITE_SECTORS = 0x30;
export const ATA_WRITE_SECTORS_ONCE = 0x31;
export const ATA_WRITE_SECTORS_EXT = 0x34;
export const ATA_WRITE_DMA_EXT = 0x35;
export const ATA_WRITE_MULTIPLE_EXT = 0x39;
export const ATA_WRITE_DMA_FUA_EXT = 0x3d;
export const ATA_READ_VERIFY = 0x40;
export const ATA_READ_VERIFY_ONCE = 0x41;
export const ATA_READ_VERIFY_EXT = 0x42;
export const ATA_WRITE_UNCORRECTABLE_EXT = 0x45;
export const ATA_READ_LOG_DMA_EXT = 0x47;
export const ATA_READ_FPDMA_QUEUED = 0x60;
export const ATA_WRITE_FPDMA_QUEUED = 0x61;
/** Bits 7:4 of the command code name these two; the low bits are step rates of old (ATA-3). */
export const ATA_RECALIBRATE = 0x10;
export const ATA_SEEK = 0x70;
export const ATA_EXECUTE_DIAGNOSTIC = 0x90;
export const ATA_INITIALIZE_PARAMETERS = 0x91;
export const ATA_STANDBY_IMMEDIATE_OLD = 0x94;
export const ATA_IDLE_IMMEDIATE_OLD = 0x95;
export const ATA_STANDBY_OLD = 0x96;
export const ATA_IDLE_OLD = 0x97;
export const ATA_CHECK_POWER_OLD = 0x98;
export const ATA_SLEEP_OLD = 0x99;
export const ATA_PACKET = 0xa0;
export const ATA_IDENTIFY_PACKET = 0xa1;
export const ATA_SMART = 0xb0;
export const ATA_READ_MULTIPLE = 0xc4;
export const ATA_WRITE_MULTIPLE = 0xc5;
export const ATA_SET_MULTIPLE = 0xc6;
export const ATA_READ_DMA = 0xc8;
export const ATA_READ_DMA_ONCE = 0xc9;
export const ATA_WRITE_DMA = 0xca;
export const ATA_WRITE_DMA_ONCE = 0xcb;
export const ATA_WRITE_MULTIPLE_FUA_EXT = 0xce;
export const ATA_STANDBY_IMMEDIATE = 0xe0;
export const ATA_IDLE_IMMEDIATE = 0xe1;
export const ATA_STANDBY = 0xe2;
export const ATA_IDLE = 0xe3;
export const ATA_CHECK_POWER = 0xe5;
export const ATA_SLEEP = 0xe6;
export const ATA_FLUSH_CACHE = 0xe7;
export const ATA_FLUSH_CACHE_EXT = 0xea;
export const ATA_IDENTIFY = 0xec;
export const ATA_SET_FEATURES = 0xef;
export const ATA_SECURITY_ERASE_UNIT = 0xf4;
export const ATA_READ_NATIVE_MAX = 0xf8;

/** Subcommands of SET FEATURES (7.47). */
export const ATA_FEATURE_WRITE_CACHE = 0x02;
export const ATA_FEATURE_TRANSFER_MODE = 0x03;
export const ATA_FEATURE_NO_LOOK_AHEAD = 0x55;
export const ATA_FEATURE_NO_REVERT = 0x66;
export const ATA_FEATURE_NO_WRITE_CACHE = 0x82;
export const ATA_FEATURE_LOOK_AHEAD = 0xaa;
export const ATA_FEATURE_REVERT = 0xcc;

/** Subcommands of SMART (7.52), and the key that its LBA field carries in bits 23:8. */
export const ATA_SMART_READ_DATA = 0xd0;
export const ATA_SMART_AUTOSAVE = 0xd2;
export const ATA_SMART_ENABLE = 0xd8;
export const ATA_SMART_DISABLE = 0xd9;
export const ATA_SMART_STATUS = 0xda;
export const ATA_SMART_KEY = 0xc24f;

/** DATA SET MANAGEMENT (7.5): the TRIM bit of the feature field; blocks of 512 bytes that one command takes. */
export const ATA_DSM_TRIM = 0x01;
export const ATA_DSM_BLOCKS = 8;
/** Range entries in one of those blocks. */
export const ATA_DSM_ENTRIES = 64;

/** Log addresses (annex A). */
export const ATA_LOG_DIRECTORY = 0x00;
export const ATA_LOG_QUEUE_ERROR = 0x10;

/** What CHECK POWER MODE answers in its count field (7.3). */
export const ATA_POWER_STANDBY = 0x00;
export const ATA_POWER_IDLE = 0x80;
export const ATA_POWER_ACTIVE = 0xff;

/** Most bytes that one data request block holds: those of a Data FIS (SATA 2.6, 10.3.11). */
export const ATA_BLOCK_MAX = 8192;
/** Sectors that 28-bit commands reach. */
export const ATA_LBA28_MAX = 0x0fffffff;

/** Words of IDENTIFY DEVICE (7.16.7) that drivers look at. */
export const ATA_ID_SERIAL = 10;
export const ATA_ID_FIRMWARE = 23;
export const ATA_ID_MODEL = 27;
export const ATA_ID_CAPABILITIES = 49;
export const ATA_ID_SECTORS_28 = 60;
export const ATA_ID_QUEUE_DEPTH = 75;
export const ATA_ID_SATA = 76;
export const ATA_ID_SUPPORTED_82 = 82;
export const ATA_ID_SUPPORTED_83 = 83;
export const ATA_ID_SUPPORTED_84 = 84;
export const ATA_ID_ENABLED_85 = 85;
export const ATA_ID_SECTORS_48 = 100;
export const ATA_ID_DSM_BLOCKS = 105;
export const ATA_ID_SECTOR_SIZE = 106;
export const ATA_ID_WWN = 108;
export const ATA_ID_SECTOR_WORDS = 117;
export const ATA_ID_DSM = 169;
