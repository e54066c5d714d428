// Every import of the module. They serve media that the host holds (files, overlays, networks), nothing else.
// `request` is the request's handle: no two requests have the same one within a million uses of its slot, so
// a late answer is known for what it is. In each of these functions, and before mediaReady(), the host may
// call mediaFail() to say where and how the medium failed.

/**
 * A request to a host medium begins. Returns 0 when data can be moved at once; 1 when the host will call
 * mediaReady() once it can. Verifying asks the fault plan alone and never comes here.
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
 * of the run list, which hold exactly as many. Returns how many bytes it moved: fewer than asked is a medium
 * error at that byte, unless mediaFail() said otherwise.
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

/**
 * The data of the request was moved, as far as it will be. The host flushes, discards, or stores what it
 * gathered, and forgets the request. Returns MEDIA_OK, another status of a failure, or MEDIA_PENDING:
 * mediaReady() follows.
 */
export declare function mediaFinish(disk: u32, request: u32): u32;

/** The request is given up (reset, abort): the host forgets it. What was moved so far stays moved. */
export declare function mediaDrop(disk: u32, request: u32): void;
