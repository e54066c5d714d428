/** Serial ATA AHCI 1.3.1. Offsets in ABAR, sections in brackets. */

/** Generic host control (3.1). */
export const AHCI_CAP = 0x00;
export const AHCI_GHC = 0x04;
export const AHCI_IS = 0x08;
export const AHCI_PI = 0x0c;
export const AHCI_VS = 0x10;
export const AHCI_CCC_CTL = 0x14;
export const AHCI_CCC_PORTS = 0x18;
export const AHCI_EM_LOC = 0x1c;
export const AHCI_EM_CTL = 0x20;
export const AHCI_CAP2 = 0x24;
export const AHCI_BOHC = 0x28;

/** HBA capabilities (3.1.1). */
export const AHCI_CAP_CCCS = 0x00000080;
/** Number of command slots less one. */
export const AHCI_CAP_NCS_SHIFT = 8;
export const AHCI_CAP_NCS_MASK = 0x1f;
export const AHCI_CAP_PMD = 0x00008000;
export const AHCI_CAP_SAM = 0x00040000;
export const AHCI_CAP_ISS_SHIFT = 20;
export const AHCI_CAP_SCLO = 0x01000000;
export const AHCI_CAP_SALP = 0x04000000;
export const AHCI_CAP_SSS = 0x08000000;
export const AHCI_CAP_SNCQ = 0x40000000;
export const AHCI_CAP_S64A = 0x80000000;
/** Number of ports less one. */
export const AHCI_CAP_NP_MASK = 0x1f;

/** Global HBA control (3.1.2). */
export const AHCI_GHC_HR = 0x00000001;
export const AHCI_GHC_IE = 0x00000002;
export const AHCI_GHC_AE = 0x80000000;

/** Command completion coalescing control (3.1.6). */
export const AHCI_CCC_EN = 0x00000001;
export const AHCI_CCC_INT_SHIFT = 3;
export const AHCI_CCC_CC_SHIFT = 8;
export const AHCI_CCC_TV_SHIFT = 16;
/** CC and TV. */
export const AHCI_CCC_SETTINGS = 0xffffff00;

/** BIOS/OS handoff (3.1.10, 3.1.11). */
export const AHCI_CAP2_BOH = 0x00000001;
export const AHCI_BOHC_OOS = 0x00000002;
export const AHCI_BOHC_OOC = 0x00000008;
/** BOS, OOS, SOOE, BB. */
export const AHCI_BOHC_WRITABLE = 0x00000017;

/** Ports (3.3): the first one's registers, and the distance to the next. */
export const AHCI_PORTS = 0x100;
export const AHCI_PORT_STRIDE = 0x80;
export const AHCI_PORT_MAX = 32;
export const AHCI_SLOT_MAX = 32;

export const AHCI_PX_CLB = 0x00;
export const AHCI_PX_CLBU = 0x04;
export const AHCI_PX_FB = 0x08;
export const AHCI_PX_FBU = 0x0c;
export const AHCI_PX_IS = 0x10;
export const AHCI_PX_IE = 0x14;
export const AHCI_PX_CMD = 0x18;
export const AHCI_PX_TFD = 0x20;
export const AHCI_PX_SIG = 0x24;
export const AHCI_PX_SSTS = 0x28;
export const AHCI_PX_SCTL = 0x2c;
export const AHCI_PX_SERR = 0x30;
export const AHCI_PX_SACT = 0x34;
export const AHCI_PX_CI = 0x38;
export const AHCI_PX_SNTF = 0x3c;
export const AHCI_PX_FBS = 0x40;
export const AHCI_PX_DEVSLP = 0x44;

/** Bits that the base addresses have (3.3.1, 3.3.3). */
export const AHCI_CLB_MASK = 0xfffffc00;
export const AHCI_FB_MASK = 0xffffff00;

/** Port interrupt status (3.3.5). */
export const AHCI_IS_DHRS = 0x00000001;
export const AHCI_IS_PSS = 0x00000002;
export const AHCI_IS_DSS = 0x00000004;
export const AHCI_IS_SDBS = 0x00000008;
export const AHCI_IS_UFS = 0x00000010;
export const AHCI_IS_DPS = 0x00000020;
export const AHCI_IS_PCS = 0x00000040;
export const AHCI_IS_PRCS = 0x00400000;
export const AHCI_IS_OFS = 0x01000000;
export const AHCI_IS_INFS = 0x04000000;
export const AHCI_IS_IFS = 0x08000000;
export const AHCI_IS_HBDS = 0x10000000;
export const AHCI_IS_HBFS = 0x20000000;
export const AHCI_IS_TFES = 0x40000000;
/** Port interrupt enable (3.3.6): the bits that exist. */
export const AHCI_IE_MASK = 0xfdc000ff;

/** Port command and status (3.3.7). */
export const AHCI_CMD_ST = 0x00000001;
export const AHCI_CMD_SUD = 0x00000002;
export const AHCI_CMD_POD = 0x00000004;
export const AHCI_CMD_CLO = 0x00000008;
export const AHCI_CMD_FRE = 0x00000010;
export const AHCI_CMD_CCS_SHIFT = 8;
export const AHCI_CMD_FR = 0x00004000;
export const AHCI_CMD_CR = 0x00008000;
export const AHCI_CMD_ATAPI = 0x01000000;
export const AHCI_CMD_DLAE = 0x02000000;
export const AHCI_CMD_ALPE = 0x04000000;
export const AHCI_CMD_ASP = 0x08000000;
/** Interface state that software asks for: active. */
export const AHCI_CMD_ICC_ACTIVE = 0x10000000;

/** Port task file data after a reset (3.3.8). */
export const AHCI_TFD_RESET = 0x7f;
export const AHCI_TFD_ERROR_SHIFT = 8;
/** No signature yet (3.3.9). */
export const AHCI_SIG_NONE = 0xffffffff;
export const AHCI_SIG_ATA = 0x00000101;

/** Serial ATA status and control (3.3.10, 3.3.11): device detection, speed, power management. */
export const AHCI_DET_MASK = 0x0f;
export const AHCI_DET_RESET = 0x1;
export const AHCI_DET_PRESENT = 0x3;
export const AHCI_DET_OFFLINE = 0x4;
export const AHCI_SPD_SHIFT = 4;
export const AHCI_IPM_ACTIVE = 0x100;
/** DET, SPD and IPM: the fields of PxSCTL that are there without a port multiplier. */
export const AHCI_SCTL_MASK = 0xfff;

/** Serial ATA error (3.3.12). */
export const AHCI_SERR_P = 0x00000400;
export const AHCI_SERR_N = 0x00010000;
export const AHCI_SERR_H = 0x00400000;
export const AHCI_SERR_F = 0x02000000;
export const AHCI_SERR_X = 0x04000000;
export const AHCI_SERR_MASK = 0x07ff0f03;

/** Received FIS structure (4.2.1). */
export const AHCI_RFIS_DMA_SETUP = 0x00;
export const AHCI_RFIS_PIO_SETUP = 0x20;
export const AHCI_RFIS_REGISTER = 0x40;
export const AHCI_RFIS_SET_BITS = 0x58;
export const AHCI_RFIS_BYTES = 0x100;

/** Command header (4.2.2). */
export const AHCI_HEADER_BYTES = 32;
export const AHCI_HEADER_CFL_MASK = 0x1f;
/** The command table holds a packet. */
export const AHCI_HEADER_ATAPI = 0x0020;
export const AHCI_HEADER_WRITE = 0x0040;
export const AHCI_HEADER_PREFETCH = 0x0080;
export const AHCI_HEADER_RESET = 0x0100;
export const AHCI_HEADER_CLEAR_BUSY = 0x0400;
export const AHCI_HEADER_PRDTL_SHIFT = 16;
export const AHCI_HEADER_PRDBC = 4;
export const AHCI_HEADER_TABLE = 8;

/** Command table (4.2.3): where its descriptors begin; a descriptor's bytes and fields. */
export const AHCI_TABLE_PACKET = 0x40;
export const AHCI_TABLE_PRDT = 0x80;
export const AHCI_TABLE_ALIGN = 0x80;
export const AHCI_PRD_BYTES = 16;
export const AHCI_PRD_COUNT = 12;
export const AHCI_PRD_COUNT_MASK = 0x003fffff;
export const AHCI_PRD_INTERRUPT = 0x80000000;
export const AHCI_PRD_MAX_BYTES = 0x400000;

/** FIS types and flags (Serial ATA 2.6, 10.3). */
export const FIS_REGISTER_H2D = 0x27;
export const FIS_REGISTER_D2H = 0x34;
export const FIS_DMA_SETUP = 0x41;
export const FIS_PIO_SETUP = 0x5f;
export const FIS_SET_BITS = 0xa1;
/** The register update is a command. */
export const FIS_COMMAND = 0x80;
export const FIS_INTERRUPT = 0x40;
/** Data goes from device to host. */
export const FIS_TO_HOST = 0x20;
export const FIS_REGISTER_BYTES = 20;

/** PCI (2.1, 2.4): class code, BARs, where the capabilities are in ICH9. */
export const AHCI_CLASS = 0x010601;
export const AHCI_BAR = 5;
export const AHCI_INDEX_BAR = 4;
export const AHCI_INDEX_BAR_BYTES = 32;
export const AHCI_INDEX = 0x10;
export const AHCI_DATA = 0x14;
export const AHCI_CAP_AT_MSI = 0x80;
export const AHCI_CAP_AT_SATA = 0xa8;
export const AHCI_CAP_AT_PM = 0x70;
/** ICH9 14.1.32: port control, one bit a port. */
export const AHCI_PCS = 0x92;

/** Words of the profile; src/controllers/ahci.ts says what each means. */
export const PROFILE_PORTS = 8;
export const PROFILE_IMPLEMENTED = 9;
export const PROFILE_SLOTS = 10;
export const PROFILE_NCQ = 11;
export const PROFILE_WIDE = 12;
export const PROFILE_VERSION = 13;
export const PROFILE_STAGGERED = 14;
export const PROFILE_AGGRESSIVE = 15;
export const PROFILE_AHCI_ONLY = 16;
export const PROFILE_SPEED = 17;
export const PROFILE_LIST_OVERRIDE = 18;
export const PROFILE_COALESCING = 19;
export const PROFILE_HANDOFF = 20;
export const PROFILE_MSI = 21;
export const PROFILE_INDEX_PAIR = 22;
export const PROFILE_LINK_EVENTS = 23;
export const PROFILE_DESCRIPTOR_INTERRUPTS = 24;
export const PROFILE_PIO_REGISTER_FIS = 25;
export const PROFILE_WIDE_COUNTS = 26;
/** Optical drives are a virtual machine's. */
export const PROFILE_VIRTUAL_DRIVES = 27;
