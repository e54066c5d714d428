/** PIIX3 and PIIX4 IDE. [1] and [2] are those of channel.ts; section numbers are of [1] unless said otherwise. */

/** Class code: mass storage, IDE, compatibility mode only, bus master (4.1.5). */
export const PIIX_CLASS = 0x010180;
/** Status register after a reset: medium DEVSEL, fast back-to-back (4.1.4). */
export const PIIX_PCI_STATUS = 0x0280;
export const PIIX_CHANNELS = 2;

/**
 * What the host addresses as BARs: the four blocks of legacy ports, which no register of the configuration space
 * moves (5.3), and the bus master's own BAR.
 */
export const PIIX_BAR_PRIMARY = 0;
export const PIIX_BAR_PRIMARY_CONTROL = 1;
export const PIIX_BAR_SECONDARY = 2;
export const PIIX_BAR_SECONDARY_CONTROL = 3;
export const PIIX_BAR_MASTER = 4;
export const PIIX_MASTER_BYTES = 16;
/** The ports that the four blocks begin at, and how many each has. */
export const PIIX_PORT_PRIMARY = 0x1f0;
export const PIIX_PORT_PRIMARY_CONTROL = 0x3f6;
export const PIIX_PORT_SECONDARY = 0x170;
export const PIIX_PORT_SECONDARY_CONTROL = 0x376;
export const PIIX_COMMAND_PORTS = 8;
export const PIIX_CONTROL_PORTS = 1;

/** Configuration space: timing and channel enable (4.1.9), slave timing (4.1.10), Ultra DMA/33 (PIIX4, 4.1.11). */
export const PIIX_IDETIM = 0x40;
export const PIIX_IDETIM_SECONDARY = 0x42;
export const PIIX_SIDETIM = 0x44;
export const PIIX_UDMACTL = 0x48;
export const PIIX_UDMATIM = 0x4a;
/** IDE decode enable, in the high byte of IDETIM: bit 7. */
export const PIIX_IDETIM_ENABLE = 0x8000;
export const PIIX_DECODE = 0x80;

/** Command block: ports from 1F0h or 170h on ([2] 6). */
export const IDE_DATA = 0;
export const IDE_ERROR = 1;
export const IDE_FEATURE = 1;
export const IDE_COUNT = 2;
export const IDE_LBA_LOW = 3;
export const IDE_LBA_MID = 4;
export const IDE_LBA_HIGH = 5;
export const IDE_DEVICE = 6;
export const IDE_STATUS = 7;
export const IDE_COMMAND = 7;
/** Device register: the second drive. */
export const IDE_DEVICE_SECOND = 0x10;
/** Device control register ([2] 6.8): interrupts off, software reset, read the previous content. */
export const IDE_CONTROL_NIEN = 0x02;
export const IDE_CONTROL_SRST = 0x04;
export const IDE_CONTROL_HOB = 0x80;
/** A bus that nobody drives: the host pulls DD7 down ([2] volume 2, 5.2). */
export const IDE_FLOATING = 0x7f;
export const IDE_FLOATING_WORD = 0xff7f;

/** Bus master registers, from the BAR on; the second channel's are 8 further ([3] 2). */
export const MASTER_COMMAND = 0;
export const MASTER_STATUS = 2;
export const MASTER_TABLE = 4;
export const MASTER_STRIDE = 8;
export const MASTER_START = 0x01;
/** The master writes memory: the drive is read. */
export const MASTER_TO_MEMORY = 0x08;
export const MASTER_ACTIVE = 0x01;
export const MASTER_ERROR = 0x02;
export const MASTER_INTERRUPT = 0x04;
/** Software notes here that a drive can do DMA. */
export const MASTER_CAPABLE_0 = 0x20;
export const MASTER_CAPABLE_1 = 0x40;

/** Entries of the table ([3] 1.2): address, bytes, end of table. */
export const PRD_BYTES = 8;
export const PRD_COUNT = 4;
export const PRD_COUNT_MASK = 0xfffe;
export const PRD_COUNT_MAX = 0x10000;
export const PRD_END = 0x80000000;
/** A table fills at most the 64 KiB that it may not leave. */
export const PRD_ENTRIES_MAX = 8192;

/** Words of the profile. */
export const PROFILE_ENTRIES = 8;
export const PROFILE_ULTRA = 9;
export const PROFILE_ENABLED = 10;
export const PROFILE_LENIENT = 11;
