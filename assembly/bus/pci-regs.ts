/** PCI Local Bus Specification 3.0, chapter 6: the configuration header (type 0), and capability ids. */
export const PCI_VENDOR = 0x00;
export const PCI_DEVICE = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_REVISION = 0x08;
export const PCI_CLASS = 0x09;
export const PCI_CACHE_LINE = 0x0c;
export const PCI_LATENCY = 0x0d;
export const PCI_HEADER_TYPE = 0x0e;
export const PCI_BAR0 = 0x10;
export const PCI_SUBSYSTEM_VENDOR = 0x2c;
export const PCI_SUBSYSTEM = 0x2e;
export const PCI_ROM = 0x30;
export const PCI_CAPABILITIES = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;

/** Command register (6.2.2). */
export const PCI_COMMAND_IO = 0x0001;
export const PCI_COMMAND_MEMORY = 0x0002;
export const PCI_COMMAND_MASTER = 0x0004;
export const PCI_COMMAND_SERR = 0x0100;
export const PCI_COMMAND_INTX_DISABLE = 0x0400;
/** Status register (6.2.3). */
export const PCI_STATUS_INTERRUPT = 0x0008;
export const PCI_STATUS_CAPABILITIES = 0x0010;
export const PCI_STATUS_RECEIVED_MASTER_ABORT = 0x2000;
/** The status bits that writing one clears. */
export const PCI_STATUS_CLEARABLE = 0xf900;

/** Bits in a BAR (6.2.5.1). */
export const PCI_BAR_IO = 0x1;
export const PCI_BAR_64 = 0x4;
export const PCI_BAR_PREFETCH = 0x8;

/** Capability ids (appendix H). */
export const PCI_CAP_PM = 0x01;
export const PCI_CAP_MSI = 0x05;
export const PCI_CAP_VENDOR = 0x09;
export const PCI_CAP_MSIX = 0x11;
export const PCI_CAP_SATA = 0x12;

/** MSI capability (6.8.1): message control bits. */
export const PCI_MSI_ENABLE = 0x0001;
export const PCI_MSI_64 = 0x0080;
/** MSI-X capability and table entries (6.8.2). */
export const PCI_MSIX_ENABLE = 0x8000;
export const PCI_MSIX_FUNCTION_MASK = 0x4000;
export const PCI_MSIX_TABLE = 4;
export const PCI_MSIX_PBA = 8;
export const PCI_MSIX_ENTRY_BYTES = 16;
export const PCI_MSIX_ENTRY_ADDRESS = 0;
export const PCI_MSIX_ENTRY_DATA = 8;
export const PCI_MSIX_ENTRY_CONTROL = 12;
export const PCI_MSIX_MASKED = 1;
/** Power management capability (PM 1.2, 3.2.4): the state field of PMCSR. */
export const PCI_PM_STATE = 0x3;
export const PCI_PM_CONTROL = 4;
