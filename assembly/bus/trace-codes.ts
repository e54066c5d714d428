/**
 * What the hardware records in the trace ring: the code of an event is its bit in the trace mask. The host's
 * event declarations (src/trace/events.ts) give the fields their names.
 */

/** Register read or write: bar, offset, size, value. */
export const TRACE_READ = 0;
export const TRACE_WRITE = 1;
/** One access of a device to memory: address as driven (low, high), length, DMA_* direction. */
export const TRACE_DMA = 2;
/** A command fetched: tag, operation code, first sector (low), sectors or bytes. */
export const TRACE_COMMAND = 3;
/** A command ended: tag, status. */
export const TRACE_COMPLETE = 4;
/** A line changed: line, level. */
export const TRACE_IRQ = 5;
/** A message was sent: address (low, high), data. */
export const TRACE_MSI = 6;
/** A medium was asked: request, MEDIA_* operation, sector (low), sectors. */
export const TRACE_MEDIA = 7;
/** A reset: which kind, as the controller numbers them. */
export const TRACE_RESET = 8;

/** In an event: code, device id, time (64 bit), then the numbers. */
export const TRACE_AT_CODE = 0;
export const TRACE_AT_DEVICE = 4;
export const TRACE_AT_TIME = 8;
export const TRACE_AT_A = 16;
export const TRACE_AT_B = 20;
export const TRACE_AT_C = 24;
export const TRACE_AT_D = 28;
