//! Parameters of operations, as the OpenAPI description shows them. The handlers read them with [`crate::params::Query`]
//! and [`crate::path`]; nothing here is ever constructed.
#![allow(dead_code, reason = "these types only describe")]

use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UuidPath {
    /// The uuid.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StorePath {
    /// The uuid or name of the store.
    uuid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct LocationPath {
    /// The bundle.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
    /// The store.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    store_uuid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PortPath {
    /// The run.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
    /// The port inside the run.
    #[param(minimum = 0, maximum = 65535)]
    port: u16,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TreePath {
    /// The bundle.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
    /// Path inside the bundle, which may contain slashes.
    #[param(example = "data.txt")]
    path: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SpecPath {
    /// Name or id.
    #[param(min_length = 1)]
    spec: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct WorkerPath {
    /// The worker.
    #[param(min_length = 1)]
    worker_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct WorkerRunPath {
    /// The worker.
    #[param(min_length = 1)]
    worker_id: String,
    /// The run.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SocketPath {
    /// The worker.
    #[param(min_length = 1)]
    worker_id: String,
    /// The number in the message.
    socket_id: i64,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RedirectQuery {
    /// Where to go, on this site.
    redirect_uri: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuthorizeQuery {
    /// The client.
    client_id: String,
    /// One of the addresses that the client has registered.
    redirect_uri: String,
    /// `code`.
    response_type: String,
    /// `default`.
    scope: Option<String>,
    /// Comes back unchanged.
    state: Option<String>,
    /// PKCE.
    code_challenge: Option<String>,
    /// `S256`.
    code_challenge_method: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OAuthErrorQuery {
    /// The kind of failure.
    error: Option<String>,
    /// More about it.
    error_description: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FormatQuery {
    /// 1: schema errors as JSON text.
    #[param(minimum = 0, maximum = 1)]
    format_errors: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Keywords of the search language.
    keywords: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BundleIncludeQuery {
    /// Comma-separated: `owner`, `group_permissions`, `children`, `host_worksheets`.
    #[param(example = "owner")]
    include: Option<String>,
    /// 1: describe the metadata fields.
    #[param(minimum = 0, maximum = 1)]
    include_display_metadata: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncludeQuery {
    /// Comma-separated: `owner`, `group_permissions`; for one worksheet also `items`, `items.bundle`, `items.bundle.owner`, `items.subworksheet`.
    #[param(example = "owner")]
    include: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BundlesQuery {
    /// Keywords of the search language.
    keywords: Option<Vec<String>>,
    /// Uuids, names, or what was made how long ago.
    specs: Option<Vec<String>>,
    /// Where names in `specs` are looked up first.
    worksheet: Option<String>,
    /// Bundles that such a run made.
    command: Option<String>,
    /// With `command`: JSON list of `{child_path, parent_uuid}`.
    dependencies: Option<String>,
    /// Add descendants this deep.
    depth: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NewBundlesQuery {
    /// The worksheet that shows them; needed unless `detached`.
    worksheet: Option<String>,
    /// A bundle that they stand beside.
    shadow: Option<String>,
    /// 1: on no worksheet.
    #[param(minimum = 0, maximum = 1)]
    detached: Option<i64>,
    /// 1: contents follow.
    #[param(minimum = 0, maximum = 1)]
    wait_for_upload: Option<i64>,
    /// The store for contents.
    bundle_store: Option<String>,
    /// Place on the worksheet.
    after_sort_key: Option<i64>,
    /// 1: the place is after an image.
    #[param(minimum = 0, maximum = 1)]
    after_image: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteBundlesQuery {
    /// 1: although others depend on them or worksheets show them.
    #[param(minimum = 0, maximum = 1)]
    force: Option<i64>,
    /// 1: with all that depends on them.
    #[param(minimum = 0, maximum = 1)]
    recursive: Option<i64>,
    /// 1: only the contents.
    #[param(minimum = 0, maximum = 1, rename = "data-only")]
    data_only: Option<i64>,
    /// 1: only say what would go.
    #[param(minimum = 0, maximum = 1, rename = "dry-run")]
    dry_run: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ForceQuery {
    /// 1: also with items or frozen.
    #[param(minimum = 0, maximum = 1)]
    force: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StoresQuery {
    /// Only this one.
    name: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UuidsQuery {
    /// The bundles.
    uuids: Option<Vec<String>>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BypassQuery {
    /// 1: the client wants to store the contents itself.
    #[param(minimum = 0, maximum = 1)]
    need_bypass: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StateQuery {
    /// Whether it went well.
    #[param(minimum = 0, maximum = 1)]
    success: Option<i64>,
    /// `ready`, `failed` or `killed`.
    state_on_success: Option<String>,
    /// `ready`, `failed` or `killed`.
    state_on_failure: Option<String>,
    /// What went wrong.
    error_msg: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BlobQuery {
    /// Whether the client follows redirects.
    #[param(minimum = 0, maximum = 1)]
    support_redirect: Option<i64>,
    /// Only this many first lines.
    head: Option<i64>,
    /// Only this many last lines.
    tail: Option<i64>,
    /// Cut longer lines.
    max_line_length: Option<i64>,
    /// What stands between first and last lines.
    truncation_text: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DepthQuery {
    /// Levels of directories.
    depth: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// Name of what is sent; an archive by its ending.
    #[param(example = "data.txt")]
    filename: Option<String>,
    /// Fetch this instead of a body.
    urls: Option<Vec<String>>,
    /// 1: the address is a git repository.
    #[param(minimum = 0, maximum = 1)]
    git: Option<i64>,
    /// 1: unpack archives.
    #[param(minimum = 0, maximum = 1)]
    unpack: Option<i64>,
    /// 1: set the state at the end.
    #[param(minimum = 0, maximum = 1)]
    finalize_on_success: Option<i64>,
    /// 1: the bundle fails with the upload.
    #[param(minimum = 0, maximum = 1)]
    finalize_on_failure: Option<i64>,
    /// The state at the end.
    state_on_success: Option<String>,
    /// The store.
    store: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WorksheetsQuery {
    /// Keywords of the search language.
    keywords: Option<Vec<String>>,
    /// Uuids or names; `/` is the home worksheet.
    specs: Option<Vec<String>>,
    /// Where specs are looked up.
    base: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LandingQuery {
    /// A uuid.
    uuid: Option<String>,
    /// A name.
    name: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// The worksheet.
    #[param(pattern = "^0x[0-9a-f]{32}$", example = "0x9b2e4c6d8f0a4b1c93d5e7f1a3b5c7d9")]
    uuid: String,
    /// 1: instead of the items that it has.
    #[param(minimum = 0, maximum = 1)]
    replace: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SourceQuery {
    /// The version that the text was made from; the same as the header `If-Match`.
    base: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InterpretQuery {
    /// Only the blocks of these bundles.
    bundle_uuid: Option<Vec<String>>,
    /// Only the blocks of the first search directive with this text.
    directive: Option<String>,
    /// Only the blocks of the search directive that is this item; the answer has nothing else.
    item: Option<i64>,
    /// 1: without contents.
    #[param(minimum = 0, maximum = 1)]
    brief: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HeaderMessageQuery {
    /// The JSON part of the answer.
    #[param(example = "{}")]
    header_message: String,
}
