// What media have to tell the host beside what the guest hears: a few words each, in a list that the host empties.
// Nothing is lost with one that finds no room: trays and parked requests can be looked at.
import { AT_NOTICE_COUNT, AT_NOTICES, NOTICE_MAX, NOTICE_STRIDE } from '../bus/layout';

export function notice(kind: u32, disk: u32, first: u32, second: u32): void {
  const count = load<u32>(AT_NOTICE_COUNT);
  if (count == <u32>NOTICE_MAX) return;
  const at: usize = AT_NOTICES + count * NOTICE_STRIDE;
  store<u32>(at, kind);
  store<u32>(at, disk, 4);
  store<u32>(at, first, 8);
  store<u32>(at, second, 12);
  store<u32>(AT_NOTICE_COUNT, count + 1);
}
