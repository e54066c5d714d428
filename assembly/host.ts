// Every import of the module. They serve media that the host holds (files, overlays, networks), nothing else.

/**
 * A request to a host medium begins. Returns 0 when the medium answers synchronously; 1 when the host will
 * call mediaReady() once it can move the data (reads) or take it (writes).
 */
export declare function mediaStart(
  disk: u32,
  request: u32,
  operation: u32,
  sectorLow: u32,
  sectorHigh: u32,
  sectors: u32,
): u32;

/**
 * Moves bytes `offset` to `offset` + `bytes` of the request between the medium and the `runs` first entries
 * of the run list. Returns how many bytes it moved: fewer than asked is a medium error at that byte.
 */
export declare function mediaTransfer(
  disk: u32,
  request: u32,
  offsetLow: u32,
  offsetHigh: u32,
  bytes: u32,
  runs: u32,
  toMemory: u32,
): u32;

/** All data of the request was moved. Returns MEDIA_OK, MEDIA_ERROR, or MEDIA_PENDING (mediaReady() follows). */
export declare function mediaFinish(disk: u32, request: u32): u32;

/** The request is given up (reset, abort): the host forgets it. */
export declare function mediaDrop(disk: u32, request: u32): void;
