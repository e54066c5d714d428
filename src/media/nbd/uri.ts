// What `nbd://` addresses say: where the server listens, and what its export is called.
//
// [1] NetworkBlockDevice, doc/uri.

import { MediumError } from '../error.ts';

export interface NbdAddress {
  readonly export: string;
  /** A socket's path, or a host and its port. */
  readonly socket: string | null;
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = 10809;

/** Whether a path is meant as the address of an NBD server. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z]+)?:/i.test(text);
}

/** Throws MediumError, with what would be right. */
export function parseNbdUri(text: string): NbdAddress {
  const refuse = (what: string): MediumError => new MediumError(`${text}: ${what}`, 'unsupported');
  const scheme = /^[^:]*/.exec(text)?.[0].toLowerCase() ?? '';
  if (scheme.startsWith('nbds')) throw refuse('TLS is not supported; nbd:// and nbd+unix:// are');
  if (scheme !== 'nbd' && scheme !== 'nbd+unix') {
    throw refuse(`"${scheme}" is no scheme that is supported; nbd:// and nbd+unix:// are`);
  }
  if (!text.slice(scheme.length).startsWith('://')) throw refuse(suggestion(text));
  let url: URL;
  let name: string;
  let socket: string | null;
  try {
    url = new URL(`http${text.slice(scheme.length)}`.replace(/^http:\/\/(?=\/|$)/, 'http://localhost'));
    name = decodeURIComponent(url.pathname.slice(1));
    // Not URLSearchParams, which takes a + for a space.
    const parameter = /[?&]socket=([^&#]*)/.exec(url.search)?.[1];
    socket = parameter === undefined ? null : decodeURIComponent(parameter);
  } catch {
    throw refuse('it is no address; write nbd://host:port/export or nbd+unix:///export?socket=path');
  }
  if (scheme === 'nbd+unix' && (socket === null || socket === '')) {
    throw refuse(`the socket is missing; write nbd+unix:///${name}?socket=path`);
  }
  if (scheme === 'nbd' && socket !== null) {
    throw refuse(`a socket goes with nbd+unix; write nbd+unix:///${name}?socket=${socket}`);
  }
  // "http" hides its own port, 80, whoever names it.
  const port = /^nbd:\/\/[^/?]*:80(?=[/?]|$)/i.test(text) ? 80 : Number(url.port || DEFAULT_PORT);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { export: name, socket: scheme === 'nbd+unix' ? socket : null, host, port };
}

/** Forms that other programs take: nbd:host:port:exportname=x, nbd:unix:path:exportname=x. */
function suggestion(text: string): string {
  const unix = /^nbd:unix:([^:]+)(?::exportname=(.*))?$/i.exec(text);
  if (unix !== null) return `write nbd+unix:///${unix[2] ?? ''}?socket=${unix[1]}`;
  const tcp = /^nbd:([^:/]+):(\d+)(?::exportname=(.*))?$/i.exec(text);
  if (tcp !== null) return `write nbd://${tcp[1]}:${tcp[2]}/${tcp[3] ?? ''}`;
  return 'write nbd://host:port/export or nbd+unix:///export?socket=path';
}
