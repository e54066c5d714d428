/** VIRTIO 1.2: PCI transport (4.1), rings (2.7, 2.8), block device (5.2). Sections in brackets. */

/** Class 01 00 00, SCSI storage: what virtio block devices say that they are. */
export const VIRTIO_BLK_CLASS = 0x010000;

/** BARs: legacy registers (I/O), MSI-X table and pending bits, everything else. */
export const VIRTIO_BAR_LEGACY = 0;
export const VIRTIO_BAR_MSIX = 1;
export const VIRTIO_BAR_MODERN = 4;
export const VIRTIO_LEGACY_BYTES = 0x80;
export const VIRTIO_MSIX_BYTES = 0x1000;
export const VIRTIO_MSIX_PBA = 0x800;
export const VIRTIO_MODERN_BYTES = 0x4000;

/** Where the structures are in their BAR. */
export const VIRTIO_AT_COMMON = 0x0000;
export const VIRTIO_AT_ISR = 0x1000;
export const VIRTIO_AT_CONFIG = 0x2000;
export const VIRTIO_AT_NOTIFY = 0x3000;

/** Places of the capabilities in configuration space. */
export const VIRTIO_CAP_AT_COMMON = 0x40;
export const VIRTIO_CAP_AT_ISR = 0x50;
export const VIRTIO_CAP_AT_CONFIG = 0x60;
export const VIRTIO_CAP_AT_NOTIFY = 0x70;
export const VIRTIO_CAP_AT_WINDOW = 0x84;
export const VIRTIO_CAP_AT_MSIX = 0x98;
export const VIRTIO_CAP_AT_PM = 0xa4;

/** A capability (4.1.4): its fields, and its types. */
export const VIRTIO_CAP_LENGTH = 2;
export const VIRTIO_CAP_TYPE = 3;
export const VIRTIO_CAP_BAR = 4;
export const VIRTIO_CAP_OFFSET = 8;
export const VIRTIO_CAP_BYTES = 12;
/** Notification: the multiplier; the window (4.1.4.9): its data. */
export const VIRTIO_CAP_EXTRA = 16;
export const VIRTIO_CAP_COMMON = 1;
export const VIRTIO_CAP_NOTIFY = 2;
export const VIRTIO_CAP_ISR = 3;
export const VIRTIO_CAP_DEVICE = 4;
export const VIRTIO_CAP_WINDOW = 5;

/** Common configuration (4.1.4.3). */
export const VIRTIO_DEVICE_FEATURE_SELECT = 0x00;
export const VIRTIO_DEVICE_FEATURE = 0x04;
export const VIRTIO_DRIVER_FEATURE_SELECT = 0x08;
export const VIRTIO_DRIVER_FEATURE = 0x0c;
export const VIRTIO_CONFIG_VECTOR = 0x10;
export const VIRTIO_NUM_QUEUES = 0x12;
export const VIRTIO_STATUS = 0x14;
export const VIRTIO_CONFIG_GENERATION = 0x15;
export const VIRTIO_QUEUE_SELECT = 0x16;
export const VIRTIO_QUEUE_SIZE = 0x18;
export const VIRTIO_QUEUE_VECTOR = 0x1a;
export const VIRTIO_QUEUE_ENABLE = 0x1c;
export const VIRTIO_QUEUE_NOTIFY_OFF = 0x1e;
export const VIRTIO_QUEUE_DESC = 0x20;
export const VIRTIO_QUEUE_DRIVER = 0x28;
export const VIRTIO_QUEUE_DEVICE = 0x30;
export const VIRTIO_COMMON_BYTES = 0x38;

/** Legacy registers (4.1.4.10). */
export const LEGACY_DEVICE_FEATURES = 0x00;
export const LEGACY_DRIVER_FEATURES = 0x04;
export const LEGACY_QUEUE_ADDRESS = 0x08;
export const LEGACY_QUEUE_SIZE = 0x0c;
export const LEGACY_QUEUE_SELECT = 0x0e;
export const LEGACY_QUEUE_NOTIFY = 0x10;
export const LEGACY_STATUS = 0x12;
export const LEGACY_ISR = 0x13;
/** With MSI-X switched on; else the device's configuration begins here. */
export const LEGACY_CONFIG_VECTOR = 0x14;
export const LEGACY_QUEUE_VECTOR = 0x16;
export const LEGACY_CONFIG_MSIX = 0x18;
/** The unit of the queue's address, and the alignment of its used ring (2.7.2). */
export const LEGACY_PAGE_SHIFT = 12;
export const LEGACY_ALIGN = 0x1000;

/** Device status (2.1). */
export const VIRTIO_ACKNOWLEDGE = 0x01;
export const VIRTIO_DRIVER = 0x02;
export const VIRTIO_DRIVER_OK = 0x04;
export const VIRTIO_FEATURES_OK = 0x08;
export const VIRTIO_NEEDS_RESET = 0x40;
export const VIRTIO_FAILED = 0x80;

/** ISR status (4.1.4.5). */
export const VIRTIO_ISR_QUEUE = 0x1;
export const VIRTIO_ISR_CONFIG = 0x2;
export const VIRTIO_NO_VECTOR = 0xffff;

/** Features, bits of word 0 (5.2.3, 6). */
export const VIRTIO_BLK_F_SIZE_MAX = 0x00000002;
export const VIRTIO_BLK_F_SEG_MAX = 0x00000004;
export const VIRTIO_BLK_F_GEOMETRY = 0x00000010;
export const VIRTIO_BLK_F_RO = 0x00000020;
export const VIRTIO_BLK_F_BLK_SIZE = 0x00000040;
export const VIRTIO_BLK_F_FLUSH = 0x00000200;
export const VIRTIO_BLK_F_TOPOLOGY = 0x00000400;
export const VIRTIO_BLK_F_CONFIG_WCE = 0x00000800;
export const VIRTIO_BLK_F_MQ = 0x00001000;
export const VIRTIO_BLK_F_DISCARD = 0x00002000;
export const VIRTIO_BLK_F_WRITE_ZEROES = 0x00004000;
export const VIRTIO_F_ANY_LAYOUT = 0x08000000;
export const VIRTIO_F_INDIRECT_DESC = 0x10000000;
export const VIRTIO_F_EVENT_IDX = 0x20000000;
/** Bits of word 1. */
export const VIRTIO_F_VERSION_1 = 0x00000001;
export const VIRTIO_F_ACCESS_PLATFORM = 0x00000002;
export const VIRTIO_F_RING_PACKED = 0x00000004;

/** Block device configuration (5.2.4). */
export const BLK_CAPACITY = 0x00;
export const BLK_SIZE_MAX = 0x08;
export const BLK_SEG_MAX = 0x0c;
export const BLK_CYLINDERS = 0x10;
export const BLK_HEADS = 0x12;
export const BLK_SECTORS = 0x13;
export const BLK_BLK_SIZE = 0x14;
export const BLK_PHYSICAL_EXP = 0x18;
export const BLK_ALIGNMENT_OFFSET = 0x19;
export const BLK_MIN_IO = 0x1a;
export const BLK_OPT_IO = 0x1c;
export const BLK_WRITEBACK = 0x20;
export const BLK_NUM_QUEUES = 0x22;
export const BLK_DISCARD_SECTORS = 0x24;
export const BLK_DISCARD_SEGMENTS = 0x28;
export const BLK_DISCARD_ALIGNMENT = 0x2c;
export const BLK_ZEROES_SECTORS = 0x30;
export const BLK_ZEROES_SEGMENTS = 0x34;
export const BLK_ZEROES_MAY_UNMAP = 0x38;
export const BLK_CONFIG_BYTES = 0x3c;

/** Requests (5.2.6): types, status, header, ranges of discard and write zeroes. */
export const BLK_T_IN = 0;
export const BLK_T_OUT = 1;
export const BLK_T_FLUSH = 4;
export const BLK_T_GET_ID = 8;
export const BLK_T_DISCARD = 11;
export const BLK_T_WRITE_ZEROES = 13;
export const BLK_S_OK = 0;
export const BLK_S_IOERR = 1;
export const BLK_S_UNSUPP = 2;
export const BLK_HEADER_BYTES = 16;
export const BLK_HEADER_SECTOR = 8;
export const BLK_ID_BYTES = 20;
export const BLK_RANGE_BYTES = 16;
export const BLK_RANGE_SECTORS = 8;
export const BLK_RANGE_FLAGS = 12;
export const BLK_RANGE_UNMAP = 1;
export const BLK_RANGE_MAX = 32;
/** Requests count in these, whatever the block is. */
export const BLK_SECTOR_SHIFT = 9;

/** A descriptor, split (2.7.5) and packed (2.8.13): 16 bytes, address and length first. */
export const DESC_BYTES = 16;
export const DESC_LENGTH = 8;
export const DESC_FLAGS = 12;
export const DESC_NEXT = 14;
export const PACKED_ID = 12;
export const PACKED_FLAGS = 14;
export const DESC_F_NEXT = 0x0001;
export const DESC_F_WRITE = 0x0002;
export const DESC_F_INDIRECT = 0x0004;
export const DESC_F_AVAIL = 0x0080;
export const DESC_F_USED = 0x8000;

/** Available and used ring of a split queue (2.7.6, 2.7.8). */
export const RING_INDEX = 2;
export const RING_ENTRIES = 4;
export const AVAIL_F_NO_INTERRUPT = 1;
/** Event suppression of a packed queue (2.8.10): offset and wrap counter, then flags. */
export const EVENT_FLAGS = 2;
export const EVENT_ENABLE = 0;
export const EVENT_DISABLE = 1;
export const EVENT_DESC = 2;
export const EVENT_WRAP = 0x8000;

/** What a board can have at most. */
export const VIRTIO_QUEUES_MAX = 16;
export const VIRTIO_QUEUE_SIZE_MAX = 1024;
export const VIRTIO_SEGMENTS_MAX = 1022;

/** Words of the profile. */
export const PROFILE_TRANSITIONAL = 8;
export const PROFILE_QUEUES = 9;
export const PROFILE_QUEUE_SIZE = 10;
export const PROFILE_SEG_MAX = 11;
export const PROFILE_SIZE_MAX = 12;
export const PROFILE_PACKED = 13;
export const PROFILE_INDIRECT = 14;
export const PROFILE_EVENT_IDX = 15;
export const PROFILE_ACCESS_PLATFORM = 16;
export const PROFILE_VECTORS = 17;
export const PROFILE_MULTIPLIER = 18;
export const PROFILE_DISCARD_SECTORS = 19;
export const PROFILE_ZEROES_SECTORS = 20;
export const PROFILE_RANGES = 21;
export const PROFILE_FLUSH = 22;
export const PROFILE_PORTS = 23;
