/** NVM Express 1.4. Sections in brackets; registers are offsets in BAR 0. */

export const NVME_CLASS = 0x010802;
export const NVME_BAR = 0;
export const NVME_BAR_BYTES = 0x4000;

/** Controller registers (3.1). */
export const NVME_CAP = 0x00;
export const NVME_CAP_HIGH = 0x04;
export const NVME_VS = 0x08;
export const NVME_INTMS = 0x0c;
export const NVME_INTMC = 0x10;
export const NVME_CC = 0x14;
export const NVME_CSTS = 0x1c;
export const NVME_NSSR = 0x20;
export const NVME_AQA = 0x24;
export const NVME_ASQ = 0x28;
export const NVME_ASQ_HIGH = 0x2c;
export const NVME_ACQ = 0x30;
export const NVME_ACQ_HIGH = 0x34;
/** Controller memory buffer (3.1.11, 3.1.12, 3.1.16, 3.1.17). */
export const NVME_CMBLOC = 0x38;
export const NVME_CMBSZ = 0x3c;
export const NVME_CMBMSC = 0x50;
export const NVME_CMBMSC_HIGH = 0x54;
export const NVME_CMBSTS = 0x58;
/** Persistent memory region (3.1.26 to 3.1.31). */
export const NVME_PMRCAP = 0xe00;
export const NVME_PMRCTL = 0xe04;
export const NVME_PMRSTS = 0xe08;
export const NVME_PMRMSCL = 0xe14;
export const NVME_PMRMSCU = 0xe18;
/** First doorbell (3.1.24): submission queue tails and completion queue heads in turn. */
export const NVME_DOORBELLS = 0x1000;
/** Doorbells end here at the latest. */
export const NVME_DOORBELLS_END = 0x3000;

/** CAP (3.1.1): low half. */
export const NVME_CAP_MQES_MASK = 0xffff;
export const NVME_CAP_CQR = 0x00010000;
export const NVME_CAP_AMS_WRR = 0x00020000;
export const NVME_CAP_TO_SHIFT = 24;
/** High half. */
export const NVME_CAP_DSTRD_MASK = 0xf;
export const NVME_CAP_NSSRS = 0x10;
export const NVME_CAP_CSS_NVM = 0x20;
export const NVME_CAP_MPSMAX_SHIFT = 20;
export const NVME_CAP_PMRS = 0x01000000;
export const NVME_CAP_CMBS = 0x02000000;

/** CC (3.1.5). */
export const NVME_CC_EN = 0x00000001;
export const NVME_CC_CSS = 0x00000070;
export const NVME_CC_MPS_SHIFT = 7;
export const NVME_CC_AMS_SHIFT = 11;
export const NVME_CC_AMS = 0x00003800;
export const NVME_CC_SHN = 0x0000c000;
export const NVME_CC_SHN_NORMAL = 0x00004000;
export const NVME_CC_SHN_ABRUPT = 0x00008000;
export const NVME_CC_IOSQES_SHIFT = 16;
export const NVME_CC_IOCQES_SHIFT = 20;
/** Every field that is there; CSS, MPS and AMS keep their values while EN is set. */
export const NVME_CC_WRITABLE = 0x00fffff1;
export const NVME_CC_HELD = 0x00003ff0;

/** CSTS (3.1.6). */
export const NVME_CSTS_RDY = 0x01;
export const NVME_CSTS_CFS = 0x02;
export const NVME_CSTS_SHST = 0x0c;
export const NVME_CSTS_SHST_BUSY = 0x04;
export const NVME_CSTS_SHST_DONE = 0x08;
export const NVME_CSTS_NSSRO = 0x10;

/** "NVMe" (3.1.7). */
export const NVME_NSSR_VALUE = 0x4e564d65;
/** AQA (3.1.8). */
export const NVME_AQA_MASK = 0x0fff0fff;
export const NVME_AQA_ACQS_SHIFT = 16;

/** CMBLOC: queues, lists and data may lie partly in the buffer and partly not. */
export const NVME_CMBLOC_MIXED = 0xe8;
/** CMBSZ: what the buffer is for; its size in units of 4 KiB. */
export const NVME_CMBSZ_SQS = 0x01;
export const NVME_CMBSZ_CQS = 0x02;
export const NVME_CMBSZ_LISTS = 0x04;
export const NVME_CMBSZ_RDS = 0x08;
export const NVME_CMBSZ_WDS = 0x10;
export const NVME_CMBSZ_SZ_SHIFT = 12;
export const NVME_CMBMSC_CRE = 0x1;
export const NVME_CMBMSC_CMSE = 0x2;
export const NVME_CMBSTS_CBAI = 0x1;
/** PMRCAP: data of reads and writes, reading PMRSTS is the barrier, half a second at most until it is ready, CMSS. */
export const NVME_PMRCAP_CLAIMS = 0x01010818;
export const NVME_PMRCAP_BIR_SHIFT = 5;
export const NVME_PMRCTL_EN = 0x1;
export const NVME_PMRSTS_NRDY = 0x100;
export const NVME_PMRSTS_CBAI = 0x1000;
export const NVME_PMRMSCL_CMSE = 0x2;
/** BARs of the two. */
export const NVME_CMB_BAR = 2;
export const NVME_PMR_BAR = 4;

/** Submission queue entry (4.2). */
export const NVME_SQE_BYTES = 64;
export const NVME_SQE_SHIFT = 6;
export const NVME_SQE_NSID = 4;
export const NVME_SQE_MPTR = 16;
export const NVME_SQE_PRP1 = 24;
export const NVME_SQE_PRP2 = 32;
export const NVME_SQE_CDW10 = 40;
export const NVME_SQE_FUSE = 0x03;
export const NVME_SQE_PSDT_SHIFT = 6;

/** Completion queue entry (4.6). */
export const NVME_CQE_BYTES = 16;
export const NVME_CQE_SHIFT = 4;
export const NVME_CQE_PHASE = 0x10000;
export const NVME_CQE_STATUS_SHIFT = 17;

/** Admin commands (5). */
export const NVME_ADMIN_DELETE_SQ = 0x00;
export const NVME_ADMIN_CREATE_SQ = 0x01;
export const NVME_ADMIN_GET_LOG_PAGE = 0x02;
export const NVME_ADMIN_DELETE_CQ = 0x04;
export const NVME_ADMIN_CREATE_CQ = 0x05;
export const NVME_ADMIN_IDENTIFY = 0x06;
export const NVME_ADMIN_ABORT = 0x08;
export const NVME_ADMIN_SET_FEATURES = 0x09;
export const NVME_ADMIN_GET_FEATURES = 0x0a;
export const NVME_ADMIN_ASYNC_EVENT = 0x0c;
export const NVME_ADMIN_FIRMWARE_COMMIT = 0x10;
export const NVME_ADMIN_FIRMWARE_DOWNLOAD = 0x11;
export const NVME_ADMIN_FORMAT = 0x80;

/** NVM commands (6). */
export const NVME_FLUSH = 0x00;
export const NVME_WRITE = 0x01;
export const NVME_READ = 0x02;
export const NVME_COMPARE = 0x05;
export const NVME_WRITE_ZEROES = 0x08;
export const NVME_DSM = 0x09;
export const NVME_VERIFY = 0x0c;

/** Dword 12 of the commands that name blocks (6.9, 6.15); dword 11 of Dataset Management (6.7). */
export const NVME_NLB_MASK = 0xffff;
export const NVME_PRINFO = 0x3c000000;
export const NVME_FUA = 0x40000000;
export const NVME_DSM_DEALLOCATE = 0x4;
export const NVME_DSM_RANGE_BYTES = 16;
export const NVME_DSM_RANGES_MAX = 256;

/** Create I/O queue, dword 11 (5.3, 5.4). */
export const NVME_QUEUE_PC = 0x1;
export const NVME_QUEUE_IEN = 0x2;
export const NVME_QUEUE_PRIO_SHIFT = 1;

/** Status: code, and type in bits 8 to 10 (4.6.1). */
export const NVME_SUCCESS = 0x0000;
export const NVME_INVALID_OPCODE = 0x0001;
export const NVME_INVALID_FIELD = 0x0002;
export const NVME_DATA_TRANSFER = 0x0004;
export const NVME_INTERNAL = 0x0006;
export const NVME_ABORT_REQUESTED = 0x0007;
export const NVME_ABORT_SQ_DELETED = 0x0008;
export const NVME_INVALID_NAMESPACE = 0x000b;
export const NVME_SEQUENCE = 0x000c;
export const NVME_SGL_SEGMENT = 0x000d;
export const NVME_SGL_COUNT = 0x000e;
export const NVME_SGL_LENGTH = 0x000f;
export const NVME_SGL_TYPE = 0x0011;
export const NVME_CMB_USE = 0x0012;
export const NVME_PRP_OFFSET = 0x0013;
export const NVME_WRITE_PROTECTED = 0x0020;
export const NVME_LBA_RANGE = 0x0080;
export const NVME_CAPACITY_EXCEEDED = 0x0081;
export const NVME_FORMAT_IN_PROGRESS = 0x0084;
export const NVME_CQ_INVALID = 0x0100;
export const NVME_QUEUE_ID = 0x0101;
export const NVME_QUEUE_SIZE = 0x0102;
export const NVME_AER_LIMIT = 0x0105;
export const NVME_FIRMWARE_SLOT = 0x0106;
export const NVME_FIRMWARE_IMAGE = 0x0107;
export const NVME_VECTOR = 0x0108;
export const NVME_LOG_PAGE = 0x0109;
export const NVME_INVALID_FORMAT = 0x010a;
export const NVME_QUEUE_DELETION = 0x010c;
export const NVME_NOT_SAVEABLE = 0x010d;
export const NVME_NOT_CHANGEABLE = 0x010e;
export const NVME_NOT_NAMESPACE = 0x010f;
export const NVME_OVERLAPPING = 0x0114;
export const NVME_WRITE_FAULT = 0x0280;
export const NVME_READ_ERROR = 0x0281;
export const NVME_COMPARE_FAILURE = 0x0285;
/** More: the error log has an entry. Do not retry. */
export const NVME_STATUS_MORE = 0x2000;
export const NVME_STATUS_DNR = 0x4000;
export const NVME_STATUS_MASK = 0x07ff;

/** SGL descriptors (4.4): type in the high half of byte 15. */
export const NVME_SGL_BYTES = 16;
export const NVME_SGL_DATA = 0x00;
export const NVME_SGL_BIT_BUCKET = 0x10;
export const NVME_SGL_SEGMENT_TYPE = 0x20;
export const NVME_SGL_LAST_SEGMENT = 0x30;
export const NVME_PSDT_PRP = 0;
export const NVME_PSDT_SGL = 1;

/** Identify (5.15): CNS, and places in its data. */
export const NVME_CNS_NAMESPACE = 0x00;
export const NVME_CNS_CONTROLLER = 0x01;
export const NVME_CNS_ACTIVE = 0x02;
export const NVME_CNS_DESCRIPTORS = 0x03;
export const NVME_CNS_ALLOCATED = 0x10;
export const NVME_CNS_ALLOCATED_NAMESPACE = 0x11;
export const NVME_IDENTIFY_BYTES = 4096;
export const NVME_ID_SERIAL = 4;
export const NVME_ID_MODEL = 24;
export const NVME_ID_FIRMWARE = 64;
export const NVME_ID_MDTS = 77;
export const NVME_ID_NN = 516;
export const NVME_ID_ONCS = 520;
export const NVME_ID_VWC = 525;
export const NVME_ID_SGLS = 536;
export const NVME_ID_SUBNQN = 768;
export const NVME_ID_NS_NSZE = 0;
export const NVME_ID_NS_FLBAS = 26;
export const NVME_ID_NS_LBAF = 128;

/** Log pages (5.14). */
export const NVME_LOG_ERROR = 0x01;
export const NVME_LOG_SMART = 0x02;
export const NVME_LOG_FIRMWARE = 0x03;
export const NVME_LOG_CHANGED_NAMESPACES = 0x04;
export const NVME_LOG_COMMANDS = 0x05;
export const NVME_LOG_RAE = 0x8000;

/** Features (5.21). */
export const NVME_FEATURE_ARBITRATION = 0x01;
export const NVME_FEATURE_POWER = 0x02;
export const NVME_FEATURE_TEMPERATURE = 0x04;
export const NVME_FEATURE_RECOVERY = 0x05;
export const NVME_FEATURE_WRITE_CACHE = 0x06;
export const NVME_FEATURE_QUEUES = 0x07;
export const NVME_FEATURE_COALESCING = 0x08;
export const NVME_FEATURE_VECTOR = 0x09;
export const NVME_FEATURE_ATOMICITY = 0x0a;
export const NVME_FEATURE_EVENTS = 0x0b;
export const NVME_FEATURE_TIMESTAMP = 0x0e;
export const NVME_FEATURE_HOST_ID = 0x81;
export const NVME_FEATURE_SAVE = 0x80000000;
export const NVME_SELECT_CURRENT = 0;
export const NVME_SELECT_DEFAULT = 1;
export const NVME_SELECT_SAVED = 2;
export const NVME_SELECT_CAPABILITIES = 3;

/** Asynchronous events (5.2): type, then information. */
export const NVME_EVENT_ERROR = 0;
export const NVME_EVENT_SMART = 1;
export const NVME_EVENT_NOTICE = 2;
export const NVME_EVENT_INVALID_DOORBELL = 0;
export const NVME_EVENT_DOORBELL_VALUE = 1;
export const NVME_EVENT_TEMPERATURE = 1;
export const NVME_EVENT_NAMESPACE = 0;
export const NVME_EVENT_FIRMWARE = 1;

/** Firmware commit (5.12): the actions; an image begins with these four bytes, then its revision in eight. */
export const NVME_COMMIT_STORE = 0;
export const NVME_COMMIT_STORE_ACTIVATE = 1;
export const NVME_COMMIT_ACTIVATE = 2;
export const NVME_COMMIT_NOW = 3;
export const NVME_IMAGE_MAGIC = 0x57464b42;
export const NVME_IMAGE_BYTES_MAX = 0x8000;

/** Capabilities in configuration space. */
export const NVME_CAP_AT_PM = 0x40;
export const NVME_CAP_AT_MSI = 0x50;
export const NVME_CAP_AT_MSIX = 0x70;
/** And in BAR 0, behind the doorbells. */
export const NVME_MSIX_TABLE = 0x3000;
export const NVME_MSIX_PENDING = 0x3800;

/** Words of the profile. */
export const PROFILE_QUEUES = 8;
export const PROFILE_ENTRIES = 9;
export const PROFILE_MDTS = 10;
export const PROFILE_SGL = 11;
export const PROFILE_STRIDE = 12;
export const PROFILE_NAMESPACES = 13;
export const PROFILE_WEIGHTED = 14;
export const PROFILE_READY_US = 15;
export const PROFILE_MSI = 16;
export const PROFILE_MSIX = 17;
export const PROFILE_CMB = 18;
export const PROFILE_CMB_USES = 19;
export const PROFILE_PMR = 20;
export const PROFILE_CACHE = 21;
/** Pages of 4 KiB in the buffer and in the persistent region, each. */
export const NVME_MEMORY_PAGES_MAX = 512;
export const NVME_QUEUES_MAX = 63;
export const NVME_NAMESPACES_MAX = 32;
/** Log2 of pages in the largest transfer. */
export const NVME_MDTS_MAX = 7;
