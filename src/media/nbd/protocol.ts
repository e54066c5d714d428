// Numbers of the NBD protocol.
//
// [1] NetworkBlockDevice, doc/proto: "Fixed newstyle negotiation", "Transmission", "Values".

// 64-bit magics as two halves.
export const INIT_HIGH = 0x4e42444d;
export const INIT_LOW = 0x41474943;
export const OPTION_HIGH = 0x49484156;
export const OPTION_LOW = 0x454f5054;
export const OLDSTYLE_LOW = 0x81861253;
export const OPTION_REPLY_HIGH = 0x0003e889;
export const OPTION_REPLY_LOW = 0x045565a9;

// Handshake flags, the server's and the client's.
export const FIXED_NEWSTYLE = 1 << 0;
export const NO_ZEROES = 1 << 1;

export const OPT_EXPORT_NAME = 1;
export const OPT_LIST = 3;
export const OPT_GO = 7;
export const OPT_STRUCTURED_REPLY = 8;

export const REP_ACK = 1;
export const REP_SERVER = 2;
export const REP_INFO = 3;
export const REP_ERROR = 0x80000000;
export const REP_ERR_UNSUP = 0x80000001;
export const REP_ERR_TLS_REQD = 0x80000005;
export const REP_ERR_UNKNOWN = 0x80000006;

export const REPLY_ERRORS: Readonly<Record<number, string>> = {
  2147483650: 'the server forbids it',
  2147483651: 'the server calls the request invalid',
  2147483652: 'the server cannot do it on its platform',
  2147483655: 'the server is shutting down',
  2147483656: 'the server wants its block sizes known',
  2147483657: 'the server calls the request too big',
};

export const INFO_EXPORT = 0;
export const INFO_BLOCK_SIZE = 3;

// Transmission flags.
export const HAS_READ_ONLY = 1 << 1;
export const HAS_FLUSH = 1 << 2;
export const HAS_FUA = 1 << 3;
export const HAS_WRITE_ZEROES = 1 << 6;

export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_MAGIC = 0x67446698;
export const CHUNK_MAGIC = 0x668e33ef;

export const CMD_READ = 0;
export const CMD_WRITE = 1;
export const CMD_DISC = 2;
export const CMD_FLUSH = 3;
export const CMD_WRITE_ZEROES = 6;

export const CMD_FLAG_FUA = 1 << 0;

export const CHUNK_DONE = 1 << 0;
export const CHUNK_NONE = 0;
export const CHUNK_DATA = 1;
export const CHUNK_HOLE = 2;
export const CHUNK_IS_ERROR = 1 << 15;
export const CHUNK_ERROR_OFFSET = 0x8002;

/** Texts are at most this long [1]. */
export const TEXT_MAX = 4096;
/** What a client may ask for where the server says nothing [1]. */
export const DEFAULT_MOST = 32 * 2 ** 20;

/** Error numbers of replies; they are the protocol's own, whatever the server's system calls them [1]. */
export const ERRORS: Readonly<Record<number, string>> = {
  1: 'operation not permitted',
  5: 'input/output error',
  12: 'the server is out of memory',
  22: 'invalid request',
  28: 'no space left',
  75: 'too large',
  95: 'not supported',
  108: 'the server is shutting down',
};

export const ERROR_PERMISSION = 1;
export const ERROR_NO_SPACE = 28;
