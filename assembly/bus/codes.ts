/** Numbers that cross the boundary between the host and the bus. Plain literals, as in every regs.ts. */

/** Controller kinds, the first argument of createController(). */
export const KIND_AHA1542 = 1;
export const KIND_PIIX_IDE = 2;
export const KIND_AHCI = 3;
export const KIND_NVME = 4;
export const KIND_VIRTIO_BLK = 5;
export const KIND_LSI53C895A = 6;

/** The event codes that the bus itself gives out; a controller's own are below EVENT_BUS. */
export const EVENT_BUS = 0x1000;
/** A medium is ready to move data for a request. */
export const EVENT_MEDIA_DATA = 0x1000;
/** A medium has finished what a request left open. */
export const EVENT_MEDIA_DONE = 0x1001;

/** Why run() came back. */
export const RUN_TIME = 0;
export const RUN_IRQ = 1;
export const RUN_MEDIA = 2;
export const RUN_BUDGET = 3;
/** A medium failed, and its request is parked. */
export const RUN_PARKED = 4;

/** Directions, seen from memory: the device reads memory, the device writes memory, either. */
export const DMA_READ = 1;
export const DMA_WRITE = 2;
export const DMA_BOTH = 3;

/** What became of an access through the DMA port. */
export const DMA_OK = 0;
export const DMA_HOLE = 1;
export const DMA_NO_MASTER = 2;
export const DMA_REGISTERS = 3;

/** Words of the profile that every controller has (the controller's own begin at PROFILE_OWN). */
export const PROFILE_ADDRESS_BITS = 0;
export const PROFILE_VENDOR = 1;
export const PROFILE_DEVICE = 2;
export const PROFILE_SUBSYSTEM_VENDOR = 3;
export const PROFILE_SUBSYSTEM = 4;
export const PROFILE_REVISION = 5;
export const PROFILE_OWN = 8;

/** Kinds of reset, the second argument of resetController(). */
export const RESET_POWER_ON = 0;
export const RESET_BUS = 1;
/** PCI D3hot to D0, function-level reset. */
export const RESET_FUNCTION = 2;

/** Blocks of the arena by number, the argument of blockBytes(); those of controllers have the KIND_* of theirs. */
export const BLOCK_DEVICE = 64;
export const BLOCK_FUNCTION = 65;
export const BLOCK_DISK = 66;
export const BLOCK_REQUEST = 67;
