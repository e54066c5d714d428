// The requests that wait in a queue for its driver, and those that it has started and that have a time limit: two lists
// through the requests themselves, which are never in both.

import { KernelBug } from '../kernel/index.ts';
import type { Request, RequestQueue } from './blkdev.ts';

/** Queues a request behind or in front of the others. */
export function insertRequest(q: RequestQueue, rq: Request, atHead: boolean): void {
  if (rq.queued) throw new KernelBug('request-queued', 'inserted twice', `queue ${q.id}`);
  rq.queued = true;
  rq.prev = atHead ? null : q.tail;
  rq.next = atHead ? q.head : null;
  if (rq.prev === null) q.head = rq;
  else rq.prev.next = rq;
  if (rq.next === null) q.tail = rq;
  else rq.next.prev = rq;
}

/** Takes a request out, wherever it stands. */
export function removeRequest(q: RequestQueue, rq: Request): void {
  if (rq.prev === null) q.head = rq.next;
  else rq.prev.next = rq.next;
  if (rq.next === null) q.tail = rq.prev;
  else rq.next.prev = rq.prev;
  rq.next = rq.prev = null;
  rq.queued = false;
}

/** Puts a started request behind the others that have a time limit. */
export function appendTimed(q: RequestQueue, rq: Request): void {
  rq.timed = true;
  rq.prev = q.last_timed;
  rq.next = null;
  if (rq.prev === null) q.first_timed = rq;
  else rq.prev.next = rq;
  q.last_timed = rq;
}

export function removeTimed(q: RequestQueue, rq: Request): void {
  if (rq.prev === null) q.first_timed = rq.next;
  else rq.prev.next = rq.next;
  if (rq.next === null) q.last_timed = rq.prev;
  else rq.next.prev = rq.prev;
  rq.next = rq.prev = null;
  rq.timed = false;
}
