/** LSI53C895A Technical Manual (S14028.B). Sections in brackets; registers are offsets in BAR 0 and BAR 1. */

/** Configuration space [4.1]: I/O ports, the same registers in memory, the RAM for SCRIPTS. */
export const LSI_CLASS = 0x010000;
export const LSI_BAR_IO = 0;
export const LSI_BAR_MEMORY = 1;
export const LSI_BAR_RAM = 2;
export const LSI_IO_BYTES = 0x100;
export const LSI_MEMORY_BYTES = 0x400;
export const LSI_RAM_BYTES = 0x2000;
export const LSI_CAP_AT_PM = 0x40;
export const LSI_VENDOR = 0x1000;
export const LSI_DEVICE_810 = 0x0001;
export const LSI_DEVICE_895A = 0x0012;
export const LSI_CONFIG_INTERRUPT_PIN = 0x3d;
export const LSI_CONFIG_MIN_GNT = 0x3e;
export const LSI_CONFIG_MAX_LAT = 0x3f;

/** Registers [4.2 to 4.4]. One name for what is wider than a byte; SCRATCHC to SCRATCHR follow each other. */
export const LSI_SCNTL0 = 0x00;
export const LSI_SCNTL1 = 0x01;
export const LSI_SCNTL2 = 0x02;
export const LSI_SCNTL3 = 0x03;
export const LSI_SCID = 0x04;
export const LSI_SXFER = 0x05;
export const LSI_SDID = 0x06;
export const LSI_GPREG = 0x07;
export const LSI_SFBR = 0x08;
export const LSI_SOCL = 0x09;
export const LSI_SSID = 0x0a;
export const LSI_SBCL = 0x0b;
export const LSI_DSTAT = 0x0c;
export const LSI_SSTAT0 = 0x0d;
export const LSI_SSTAT1 = 0x0e;
export const LSI_SSTAT2 = 0x0f;
export const LSI_DSA = 0x10;
export const LSI_ISTAT0 = 0x14;
export const LSI_ISTAT1 = 0x15;
export const LSI_MBOX0 = 0x16;
export const LSI_MBOX1 = 0x17;
export const LSI_CTEST0 = 0x18;
export const LSI_CTEST1 = 0x19;
export const LSI_CTEST2 = 0x1a;
export const LSI_CTEST3 = 0x1b;
export const LSI_TEMP = 0x1c;
export const LSI_DFIFO = 0x20;
export const LSI_CTEST4 = 0x21;
export const LSI_CTEST5 = 0x22;
export const LSI_CTEST6 = 0x23;
export const LSI_DBC = 0x24;
export const LSI_DCMD = 0x27;
export const LSI_DNAD = 0x28;
export const LSI_DSP = 0x2c;
export const LSI_DSPS = 0x30;
export const LSI_SCRATCHA = 0x34;
export const LSI_DMODE = 0x38;
export const LSI_DIEN = 0x39;
export const LSI_SBR = 0x3a;
export const LSI_DCNTL = 0x3b;
export const LSI_ADDER = 0x3c;
export const LSI_SIEN0 = 0x40;
export const LSI_SIEN1 = 0x41;
export const LSI_SIST0 = 0x42;
export const LSI_SIST1 = 0x43;
export const LSI_SLPAR = 0x44;
export const LSI_SWIDE = 0x45;
export const LSI_MACNTL = 0x46;
export const LSI_GPCNTL = 0x47;
export const LSI_STIME0 = 0x48;
export const LSI_STIME1 = 0x49;
export const LSI_RESPID0 = 0x4a;
export const LSI_RESPID1 = 0x4b;
export const LSI_STEST0 = 0x4c;
export const LSI_STEST1 = 0x4d;
export const LSI_STEST2 = 0x4e;
export const LSI_STEST3 = 0x4f;
export const LSI_SIDL = 0x50;
export const LSI_STEST4 = 0x52;
export const LSI_SODL = 0x54;
export const LSI_CCNTL0 = 0x56;
export const LSI_CCNTL1 = 0x57;
export const LSI_SBDL = 0x58;
export const LSI_SCRATCHB = 0x5c;
export const LSI_SCRATCHC = 0x60;
export const LSI_SCRATCHR = 0x9c;
export const LSI_MMRS = 0xa0;
export const LSI_MMWS = 0xa4;
export const LSI_SFS = 0xa8;
export const LSI_DRS = 0xac;
export const LSI_SBMS = 0xb0;
export const LSI_DBMS = 0xb4;
export const LSI_DNAD64 = 0xb8;
export const LSI_PMJAD1 = 0xc0;
export const LSI_PMJAD2 = 0xc4;
export const LSI_RBC = 0xc8;
export const LSI_UA = 0xcc;
export const LSI_ESA = 0xd0;
export const LSI_IA = 0xd4;
export const LSI_SBC = 0xd8;
export const LSI_CSBC = 0xdc;

/** SCNTL0. */
export const LSI_SCNTL0_ARB = 0xc0;
export const LSI_SCNTL0_ARB1 = 0x80;
export const LSI_SCNTL0_ARB0 = 0x40;
export const LSI_SCNTL0_START = 0x20;
export const LSI_SCNTL0_WATN = 0x10;
export const LSI_SCNTL0_EPC = 0x08;
export const LSI_SCNTL0_AAP = 0x02;
export const LSI_SCNTL0_TRG = 0x01;

/** SCNTL1. */
export const LSI_SCNTL1_EXC = 0x80;
export const LSI_SCNTL1_ADB = 0x40;
export const LSI_SCNTL1_DHP = 0x20;
export const LSI_SCNTL1_CON = 0x10;
export const LSI_SCNTL1_RST = 0x08;
export const LSI_SCNTL1_AESP = 0x04;
export const LSI_SCNTL1_IARB = 0x02;
export const LSI_SCNTL1_SST = 0x01;

/** SCNTL2. */
export const LSI_SCNTL2_SDU = 0x80;
export const LSI_SCNTL2_CHM = 0x40;
export const LSI_SCNTL2_SLPMD = 0x20;
export const LSI_SCNTL2_SLPHBEN = 0x10;
export const LSI_SCNTL2_WSS = 0x08;
export const LSI_SCNTL2_VUE0 = 0x04;
export const LSI_SCNTL2_VUE1 = 0x02;
export const LSI_SCNTL2_WSR = 0x01;

/** SCNTL3: SCF and CCF divide the clock of the synchronous and of the asynchronous logic. */
export const LSI_SCNTL3_ULTRA = 0x80;
export const LSI_SCNTL3_SCF = 0x70;
export const LSI_SCNTL3_EWS = 0x08;
export const LSI_SCNTL3_CCF = 0x07;

/** SCID, SSID, SDID. */
export const LSI_SCID_RRE = 0x40;
export const LSI_SCID_SRE = 0x20;
export const LSI_SCID_ENC = 0x0f;
export const LSI_SSID_VAL = 0x80;
export const LSI_SSID_ENCID = 0x0f;
export const LSI_SDID_ENC = 0x0f;

/** SXFER. */
export const LSI_SXFER_TP = 0xe0;
export const LSI_SXFER_MO = 0x1f;

/** SOCL and SBCL: the lines of the SCSI bus. */
export const LSI_SBCL_REQ = 0x80;
export const LSI_SBCL_ACK = 0x40;
export const LSI_SBCL_BSY = 0x20;
export const LSI_SBCL_SEL = 0x10;
export const LSI_SBCL_ATN = 0x08;
export const LSI_SBCL_MSG = 0x04;
export const LSI_SBCL_CD = 0x02;
export const LSI_SBCL_IO = 0x01;

/** DSTAT and, DFE excepted, DIEN. */
export const LSI_DSTAT_DFE = 0x80;
export const LSI_DSTAT_MDPE = 0x40;
export const LSI_DSTAT_BF = 0x20;
export const LSI_DSTAT_ABRT = 0x10;
export const LSI_DSTAT_SSI = 0x08;
export const LSI_DSTAT_SIR = 0x04;
export const LSI_DSTAT_IID = 0x01;

/** SSTAT0 to SSTAT2. */
export const LSI_SSTAT0_ILF = 0x80;
export const LSI_SSTAT0_ORF = 0x40;
export const LSI_SSTAT0_OLF = 0x20;
export const LSI_SSTAT0_AIP = 0x10;
export const LSI_SSTAT0_LOA = 0x08;
export const LSI_SSTAT0_WOA = 0x04;
export const LSI_SSTAT0_RST = 0x02;
export const LSI_SSTAT0_SDP0 = 0x01;
export const LSI_SSTAT1_FF = 0xf0;
export const LSI_SSTAT1_SDP0L = 0x08;
export const LSI_SSTAT1_PHASE = 0x07;
export const LSI_SSTAT2_ILF1 = 0x80;
export const LSI_SSTAT2_ORF1 = 0x40;
export const LSI_SSTAT2_OLF1 = 0x20;
export const LSI_SSTAT2_FF4 = 0x10;
export const LSI_SSTAT2_SPL1 = 0x08;
export const LSI_SSTAT2_DM = 0x04;
export const LSI_SSTAT2_LDSC = 0x02;
export const LSI_SSTAT2_SDP1 = 0x01;

/** ISTAT0 and ISTAT1. */
export const LSI_ISTAT0_ABRT = 0x80;
export const LSI_ISTAT0_SRST = 0x40;
export const LSI_ISTAT0_SIGP = 0x20;
export const LSI_ISTAT0_SEM = 0x10;
export const LSI_ISTAT0_CON = 0x08;
export const LSI_ISTAT0_INTF = 0x04;
export const LSI_ISTAT0_SIP = 0x02;
export const LSI_ISTAT0_DIP = 0x01;
export const LSI_ISTAT1_FLSH = 0x04;
export const LSI_ISTAT1_SRUN = 0x02;
export const LSI_ISTAT1_SI = 0x01;

/** CTEST1 to CTEST5. PCICIE has SCRATCHA and SCRATCHB show the addresses of BAR 1 and BAR 2. */
export const LSI_CTEST1_FMT = 0xf0;
export const LSI_CTEST1_FFL = 0x0f;
export const LSI_CTEST2_DDIR = 0x80;
export const LSI_CTEST2_SIGP = 0x40;
export const LSI_CTEST2_CIO = 0x20;
export const LSI_CTEST2_CM = 0x10;
export const LSI_CTEST2_PCICIE = 0x08;
export const LSI_CTEST2_TEOP = 0x04;
export const LSI_CTEST2_DREQ = 0x02;
export const LSI_CTEST2_DACK = 0x01;
export const LSI_CTEST3_V = 0xf0;
export const LSI_CTEST3_FLF = 0x08;
export const LSI_CTEST3_CLF = 0x04;
export const LSI_CTEST3_FM = 0x02;
export const LSI_CTEST3_WRIE = 0x01;
export const LSI_CTEST4_BDIS = 0x80;
export const LSI_CTEST4_FBL3 = 0x40;
export const LSI_CTEST4_ZSD = 0x20;
export const LSI_CTEST4_SRTM = 0x10;
export const LSI_CTEST4_MPEE = 0x08;
export const LSI_CTEST4_FBL = 0x07;
export const LSI_CTEST5_ADCK = 0x80;
export const LSI_CTEST5_BBCK = 0x40;
export const LSI_CTEST5_DFS = 0x20;
export const LSI_CTEST5_MASR = 0x10;
export const LSI_CTEST5_DDIR = 0x08;
export const LSI_CTEST5_BL2 = 0x04;
export const LSI_CTEST5_BO = 0x03;

/** DMODE. */
export const LSI_DMODE_BL = 0xc0;
export const LSI_DMODE_SIOM = 0x20;
export const LSI_DMODE_DIOM = 0x10;
export const LSI_DMODE_ERL = 0x08;
export const LSI_DMODE_ERMP = 0x04;
export const LSI_DMODE_BOF = 0x02;
export const LSI_DMODE_MAN = 0x01;

/** DCNTL. */
export const LSI_DCNTL_CLSE = 0x80;
export const LSI_DCNTL_PFF = 0x40;
export const LSI_DCNTL_PFEN = 0x20;
export const LSI_DCNTL_SSM = 0x10;
export const LSI_DCNTL_IRQM = 0x08;
export const LSI_DCNTL_STD = 0x04;
export const LSI_DCNTL_IRQD = 0x02;
export const LSI_DCNTL_COM = 0x01;

/** SIST0 and SIEN0, SIST1 and SIEN1. */
export const LSI_SIST0_MA = 0x80;
export const LSI_SIST0_CMP = 0x40;
export const LSI_SIST0_SEL = 0x20;
export const LSI_SIST0_RSL = 0x10;
export const LSI_SIST0_SGE = 0x08;
export const LSI_SIST0_UDC = 0x04;
export const LSI_SIST0_RST = 0x02;
export const LSI_SIST0_PAR = 0x01;
export const LSI_SIST1_SBMC = 0x10;
export const LSI_SIST1_STO = 0x04;
export const LSI_SIST1_GEN = 0x02;
export const LSI_SIST1_HTH = 0x01;

/** MACNTL. */
export const LSI_MACNTL_TYP = 0xf0;
export const LSI_MACNTL_DWR = 0x08;
export const LSI_MACNTL_DRD = 0x04;
export const LSI_MACNTL_PSCPT = 0x02;
export const LSI_MACNTL_SCPTS = 0x01;

/** GPCNTL. */
export const LSI_GPCNTL_ME = 0x80;
export const LSI_GPCNTL_FE = 0x40;
export const LSI_GPCNTL_LEDC = 0x20;
export const LSI_GPCNTL_GPIO = 0x1f;

/** STIME0 and STIME1. */
export const LSI_STIME0_HTH = 0xf0;
export const LSI_STIME0_SEL = 0x0f;
export const LSI_STIME1_HTHBA = 0x40;
export const LSI_STIME1_GENSF = 0x20;
export const LSI_STIME1_HTHSF = 0x10;
export const LSI_STIME1_GEN = 0x0f;

/** STEST0 to STEST4. QEN and QSEL run and select the clock quadrupler, LOCK says that it is locked. */
export const LSI_STEST0_SSAID = 0xf0;
export const LSI_STEST0_SLT = 0x08;
export const LSI_STEST0_ART = 0x04;
export const LSI_STEST0_SOZ = 0x02;
export const LSI_STEST0_SOM = 0x01;
export const LSI_STEST1_SCLK = 0x80;
export const LSI_STEST1_ISO = 0x40;
export const LSI_STEST1_QEN = 0x08;
export const LSI_STEST1_QSEL = 0x04;
export const LSI_STEST1_IRM = 0x03;
export const LSI_STEST2_SCE = 0x80;
export const LSI_STEST2_ROF = 0x40;
export const LSI_STEST2_DIF = 0x20;
export const LSI_STEST2_SLB = 0x10;
export const LSI_STEST2_SZM = 0x08;
export const LSI_STEST2_AWS = 0x04;
export const LSI_STEST2_EXT = 0x02;
export const LSI_STEST2_LOW = 0x01;
export const LSI_STEST3_TE = 0x80;
export const LSI_STEST3_STR = 0x40;
export const LSI_STEST3_HSC = 0x20;
export const LSI_STEST3_DSI = 0x10;
export const LSI_STEST3_S16 = 0x08;
export const LSI_STEST3_TTM = 0x04;
export const LSI_STEST3_CSF = 0x02;
export const LSI_STEST3_STW = 0x01;
export const LSI_STEST4_SMODE = 0xc0;
export const LSI_STEST4_SMODE_HVD = 0x40;
export const LSI_STEST4_SMODE_SE = 0x80;
export const LSI_STEST4_SMODE_LVD = 0xc0;
export const LSI_STEST4_LOCK = 0x20;

/** CCNTL0: the jumps at a phase mismatch. CCNTL1: 64-bit addresses. */
export const LSI_CCNTL0_ENPMJ = 0x80;
export const LSI_CCNTL0_PMJCTL = 0x40;
export const LSI_CCNTL0_ENNDJ = 0x20;
export const LSI_CCNTL0_DISFC = 0x10;
export const LSI_CCNTL0_DILS = 0x02;
export const LSI_CCNTL0_DPR = 0x01;
export const LSI_CCNTL1_ZMOD = 0x80;
export const LSI_CCNTL1_DDAC = 0x08;
export const LSI_CCNTL1_TIMOD = 0x04;
export const LSI_CCNTL1_EN64TIBMV = 0x02;
export const LSI_CCNTL1_EN64DBMV = 0x01;

/** SCSI phases: MSG, C/D and I/O. */
export const LSI_PHASE_DATA_OUT = 0;
export const LSI_PHASE_DATA_IN = 1;
export const LSI_PHASE_COMMAND = 2;
export const LSI_PHASE_STATUS = 3;
export const LSI_PHASE_RESERVED_OUT = 4;
export const LSI_PHASE_RESERVED_IN = 5;
export const LSI_PHASE_MESSAGE_OUT = 6;
export const LSI_PHASE_MESSAGE_IN = 7;

/** Words of the profile: SCRIPTS RAM, 16 bits of bus, load/store, jumps at a phase mismatch, 64-bit addresses. */
export const PROFILE_RAM = 8;
export const PROFILE_WIDE = 9;
export const PROFILE_LOAD_STORE = 10;
export const PROFILE_MISMATCH_JUMPS = 11;
export const PROFILE_DUAL_ADDRESS = 12;
/** Bytes after which a target lets go of the bus for a while; 0: it moves everything at once. */
export const PROFILE_BURST = 13;

/** The SCSI id that boards keep for the chip: no disk can be there. Ids of a wide bus, units of a target. */
export const LSI_HOST_ID = 7;
export const LSI_TARGETS = 16;
export const LSI_UNITS = 8;
/** Commands that the targets on the bus hold at once. */
export const LSI_TASKS = 64;

/** Messages, SPI-2 chapter 10. */
export const MSG_COMMAND_COMPLETE = 0x00;
export const MSG_EXTENDED = 0x01;
export const MSG_SAVE_POINTERS = 0x02;
export const MSG_RESTORE_POINTERS = 0x03;
export const MSG_DISCONNECT = 0x04;
export const MSG_INITIATOR_ERROR = 0x05;
export const MSG_ABORT = 0x06;
export const MSG_REJECT = 0x07;
export const MSG_NO_OPERATION = 0x08;
export const MSG_PARITY_ERROR = 0x09;
export const MSG_DEVICE_RESET = 0x0c;
export const MSG_ABORT_TAG = 0x0d;
export const MSG_CLEAR_QUEUE = 0x0e;
export const MSG_SIMPLE_TAG = 0x20;
export const MSG_HEAD_TAG = 0x21;
export const MSG_ORDERED_TAG = 0x22;
export const MSG_IGNORE_RESIDUE = 0x23;
export const MSG_IDENTIFY = 0x80;
export const MSG_IDENTIFY_DISCONNECT = 0x40;
export const MSG_IDENTIFY_LUN = 0x3f;
/** Extended messages: code, and how many bytes follow the length. */
export const MSG_EXT_SDTR = 0x01;
export const MSG_EXT_SDTR_BYTES = 3;
export const MSG_EXT_WDTR = 0x03;
export const MSG_EXT_WDTR_BYTES = 2;
export const MSG_EXT_PPR = 0x04;
export const MSG_EXT_PPR_BYTES = 6;
