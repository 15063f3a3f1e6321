//! Shapes for the OpenAPI description: the envelopes of documents, and objects that the server builds without a type of
//! their own. Nothing here is ever constructed.
#![allow(dead_code, reason = "these types only describe")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What every JSON object carries.
#[derive(Serialize, ToSchema)]
pub struct Meta {
    /// Digits and dots only.
    #[schema(example = "1.7.3", pattern = "^[0-9]+([.][0-9]+)*$")]
    pub version: String,
}

/// A reference to another resource, to several, or to none.
#[derive(Serialize, ToSchema)]
pub struct Relationship {
    /// `{"type", "id"}`, a list of these, or null.
    pub data: Value,
}

/// A resource with the attributes `A`.
#[derive(Serialize, ToSchema)]
pub struct ResourceObject<A> {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; null where it has none.
    pub id: Option<String>,
    /// What it is.
    pub attributes: A,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<BTreeMap<String, Relationship>>,
    /// More about it, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// A resource of any type.
#[derive(Serialize, ToSchema)]
pub struct AnyResource {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; null where it has none.
    pub id: Option<String>,
    /// What it is.
    #[schema(value_type = Object)]
    pub attributes: Value,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<BTreeMap<String, Relationship>>,
}

/// An answer about one resource.
#[derive(Serialize, ToSchema)]
pub struct OneDocument<A> {
    /// The resource.
    pub data: ResourceObject<A>,
    /// Related resources, where `include` asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub included: Option<Vec<AnyResource>>,
    /// The version.
    pub meta: Meta,
}

/// An answer about several resources.
#[derive(Serialize, ToSchema)]
pub struct ManyDocument<A> {
    /// The resources.
    pub data: Vec<ResourceObject<A>>,
    /// Related resources, where `include` asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub included: Option<Vec<AnyResource>>,
    /// The version.
    pub meta: Meta,
}

/// Resources, or for a query that aggregates only `meta`.
#[derive(Serialize, ToSchema)]
pub struct FoundDocument<A> {
    /// The resources; absent in an aggregate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<ResourceObject<A>>>,
    /// Related resources, where `include` asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub included: Option<Vec<AnyResource>>,
    /// The version and the aggregate.
    pub meta: FoundMeta,
}

/// `meta` of a search.
#[derive(Serialize, ToSchema)]
pub struct FoundMeta {
    /// Digits and dots only.
    #[schema(example = "1.7.3")]
    pub version: String,
    /// The count or sum over bundles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The count of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Value>,
}

/// Attributes that depend on what was sent.
#[derive(Serialize, ToSchema)]
pub struct AnyAttributes {}

/// The answer to a deletion.
#[derive(Serialize, ToSchema)]
pub struct DeletedDocument {
    /// What is gone.
    pub meta: DeletedMeta,
}

/// `meta` of a deletion.
#[derive(Serialize, ToSchema)]
pub struct DeletedMeta {
    /// Digits and dots only.
    #[schema(example = "1.7.3")]
    pub version: String,
    /// Ids of what is gone.
    pub ids: Vec<String>,
}

/// A request about resources with the attributes `A`.
#[derive(Serialize, ToSchema)]
pub struct ResourcesRequest<A> {
    /// The resources.
    pub data: Vec<ResourceInput<A>>,
}

/// A request about one resource.
#[derive(Serialize, ToSchema)]
pub struct ResourceRequest<A> {
    /// The resource.
    pub data: ResourceInput<A>,
}

/// A resource as sent.
#[derive(Serialize, ToSchema)]
pub struct ResourceInput<A> {
    /// Its type, which belongs to the route.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; for a new bundle the uuid that it shall have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is or becomes. Unknown and read-only attributes are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<A>,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relationships: Option<BTreeMap<String, Relationship>>,
}

/// Resources by reference.
#[derive(Serialize, ToSchema)]
pub struct LinkagesRequest {
    /// The references.
    pub data: Vec<Linkage>,
}

/// A reference.
#[derive(Serialize, ToSchema)]
pub struct Linkage {
    /// Its type, which belongs to the route.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// Attributes of a new bundle.
#[derive(Serialize, ToSchema)]
pub struct BundleInput {
    /// `dataset`, `program`, `make` or `run`.
    #[schema(example = "dataset")]
    pub bundle_type: String,
    /// Command of a run, in ASCII.
    pub command: Option<String>,
    /// Typed values by key.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// What it is made of.
    pub dependencies: Option<Vec<DependencyInput>>,
}

/// A dependency of a new bundle.
#[derive(Serialize, ToSchema)]
pub struct DependencyInput {
    /// Where the parent appears.
    pub child_path: String,
    /// The parent.
    #[schema(pattern = "^0x[0-9a-f]{32}$")]
    pub parent_uuid: String,
    /// The part of it, empty for all.
    pub parent_path: Option<String>,
}

/// What can be changed about a bundle.
#[derive(Serialize, ToSchema)]
pub struct BundleChange {
    /// New metadata values by key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// A time to freeze, null to thaw.
    pub frozen: Option<String>,
    /// Whether the owner is hidden.
    pub is_anonymous: Option<bool>,
}

/// What can be set about a worksheet.
#[derive(Serialize, ToSchema)]
pub struct WorksheetInput {
    /// Unique name.
    #[schema(pattern = "^[a-zA-Z_][a-zA-Z0-9_.-]*$")]
    pub name: Option<String>,
    /// Free text.
    pub title: Option<String>,
    /// ASCII labels.
    pub tags: Option<Vec<String>>,
    /// A time to freeze, null to thaw.
    pub frozen: Option<String>,
    /// Whether the owner is hidden.
    pub is_anonymous: Option<bool>,
}

/// An item as sent.
#[derive(Serialize, ToSchema)]
pub struct ItemInput {
    /// `markup`, `directive`, `bundle` or `worksheet`.
    #[serde(rename = "type")]
    #[schema(example = "markup")]
    pub kind: String,
    /// The text.
    pub value: Option<String>,
}

/// An account as its viewer may see it; what the viewer may not see is absent.
#[derive(Serialize, ToSchema)]
pub struct UserAttributes {
    /// Login name.
    pub user_name: String,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Where the user works.
    pub affiliation: Option<String>,
    /// Home page.
    pub url: Option<String>,
    /// When the account was made, as `Wed May  1 09:30:00 2024`.
    pub date_joined: Option<String>,
    /// Uuid of the bundle that is the picture.
    pub avatar_id: Option<String>,
    /// Whether the user may use a protected instance.
    pub has_access: Option<bool>,
    /// E-mail address (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// 0 none, 1 important only, 2 general (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notifications: Option<i64>,
    /// Seconds (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_quota: Option<i64>,
    /// Runs at a time (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_run_quota: Option<i64>,
    /// Seconds (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_used: Option<i64>,
    /// Bytes (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_quota: Option<i64>,
    /// Bytes (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_used: Option<i64>,
    /// Last login (own, root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_login: Option<String>,
    /// Whether the address is verified (root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_verified: Option<bool>,
    /// Whether this is the root account (`GET /user`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_root_user: Option<bool>,
    /// Whether the instance is protected (`GET /user`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected_mode: Option<bool>,
}

/// What can be changed about an account; the second half by root only.
#[derive(Serialize, ToSchema)]
pub struct UserChange {
    /// Login name.
    pub user_name: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Where the user works.
    pub affiliation: Option<String>,
    /// Home page.
    pub url: Option<String>,
    /// Uuid of the bundle that is the picture.
    pub avatar_id: Option<String>,
    /// 0 none, 1 important only, 2 general.
    pub notifications: Option<i64>,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether the address is verified.
    pub is_verified: Option<bool>,
    /// Whether the user may use a protected instance.
    pub has_access: Option<bool>,
    /// Seconds.
    pub time_quota: Option<f64>,
    /// Bytes.
    pub disk_quota: Option<f64>,
    /// Runs at a time.
    pub parallel_run_quota: Option<i64>,
}

/// How much an upload added.
#[derive(Serialize, ToSchema)]
pub struct DiskIncrement {
    /// Bytes, more than none.
    pub disk_used_increment: i64,
    /// The bundle.
    #[schema(pattern = "^0x[0-9a-f]{32}$")]
    pub bundle_uuid: String,
}

/// The name of a new group.
#[derive(Serialize, ToSchema)]
pub struct GroupInput {
    /// Unique name.
    #[schema(pattern = "^[a-zA-Z_][a-zA-Z0-9_.-]*$")]
    pub name: String,
}

/// A permission as sent: the level or its word.
#[derive(Serialize, ToSchema)]
pub struct PermissionInput {
    /// 0 none, 1 read, 2 all.
    #[schema(minimum = 0, maximum = 2)]
    pub permission: Option<i64>,
    /// `none`, `read` or `all`.
    pub permission_spec: Option<String>,
}

/// A new bundle store.
#[derive(Serialize, ToSchema)]
pub struct StoreInput {
    /// Unique name.
    pub name: String,
    /// `disk`, `azure_blob` or `gcs`.
    #[schema(example = "disk")]
    pub storage_type: String,
    /// `uncompressed` or `compressed_v1`.
    pub storage_format: Option<String>,
    /// Where it is.
    pub url: Option<String>,
    /// How to get in. Never answered.
    pub authentication: Option<String>,
}

/// Which store an upload goes to.
#[derive(Serialize, ToSchema)]
pub struct LocationInput {
    /// The bundle of the address.
    pub bundle_uuid: Option<String>,
    /// The store; none leaves the choice to the server.
    pub bundle_store_uuid: Option<String>,
}

/// Paths by bundle uuid.
#[derive(Serialize, ToSchema)]
pub struct PathsAnswer {
    /// Null where the viewer may not know it.
    pub data: BTreeMap<String, Option<String>>,
    /// The version.
    pub meta: Meta,
}

/// A file or directory.
#[derive(Serialize, ToSchema)]
pub struct ContentsAnswer {
    /// The info tree.
    pub data: ContentsInfo,
    /// The version.
    pub meta: Meta,
}

/// A node of an info tree.
#[derive(Serialize, ToSchema)]
pub struct ContentsInfo {
    /// File name.
    pub name: String,
    /// `file`, `directory` or `link`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes.
    pub size: i64,
    /// Permission bits.
    pub perm: i64,
    /// Entries of a directory, as deep as was asked.
    #[schema(value_type = Option<Vec<Object>>)]
    pub contents: Option<Value>,
}

/// An object with a version and more that is described in the reference.
#[derive(Serialize, ToSchema)]
pub struct AnyAnswer {
    /// The version.
    pub meta: Meta,
}

/// Names of the keywords of a search.
#[derive(Serialize, ToSchema)]
pub struct KeywordsRequest {
    /// The keywords in order.
    pub keywords: Vec<String>,
}

/// Values to read from bundles.
#[derive(Serialize, ToSchema)]
pub struct GenpathsRequest {
    /// What to read.
    pub queries: Vec<Value>,
}

/// A table with cells that name files.
#[derive(Serialize, ToSchema)]
pub struct TableRequest {
    /// Rows.
    pub contents: Vec<Value>,
}

/// A worksheet to look at.
#[derive(Serialize, ToSchema)]
pub struct SampleWorksheet {
    /// Its uuid.
    pub uuid: String,
    /// Title, else name.
    pub display_name: String,
    /// Name of the owner.
    pub owner_name: Option<String>,
}

/// A granted token.
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    /// Goes into `Authorization: Bearer`.
    pub access_token: String,
    /// Gets the next token.
    pub refresh_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// `default`.
    pub scope: String,
    /// Seconds.
    pub expires_in: i64,
}

/// Why no token was granted (RFC 6749).
#[derive(Serialize, ToSchema)]
pub struct TokenRefusal {
    /// The code of the RFC.
    pub error: String,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

/// The form of the token endpoint.
#[derive(Serialize, ToSchema)]
pub struct TokenRequest {
    /// `password`, `refresh_token` or `authorization_code`.
    #[schema(example = "password")]
    pub grant_type: String,
    /// User name or e-mail address.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// For `refresh_token`.
    pub refresh_token: Option<String>,
    /// For `authorization_code`.
    pub code: Option<String>,
    /// For `authorization_code`: as in the request for the code.
    pub redirect_uri: Option<String>,
    /// For `authorization_code`: PKCE.
    pub code_verifier: Option<String>,
    /// `default`.
    pub scope: Option<String>,
    /// Unless the Basic header names the client.
    #[schema(example = "codalab_cli_client")]
    pub client_id: Option<String>,
}

/// The form of the revocation endpoint.
#[derive(Serialize, ToSchema)]
pub struct RevokeRequest {
    /// The token.
    pub token: String,
    /// `access_token` or `refresh_token`.
    pub token_type_hint: Option<String>,
    /// Unless the Basic header names the client.
    pub client_id: Option<String>,
}

/// The user's answer to a client.
#[derive(Serialize, ToSchema)]
pub struct AuthorizeForm {
    /// The client.
    pub client_id: String,
    /// One of the addresses that the client has registered.
    pub redirect_uri: String,
    /// `code`.
    pub response_type: String,
    /// `default`.
    pub scope: Option<String>,
    /// Comes back unchanged.
    pub state: Option<String>,
    /// PKCE.
    pub code_challenge: Option<String>,
    /// `S256`.
    pub code_challenge_method: Option<String>,
    /// `yes`, else it is a refusal.
    pub confirm: Option<String>,
}

/// The sign-up form.
#[derive(Serialize, ToSchema)]
pub struct SignUpForm {
    /// Letters, digits, `_`, `.`, `-`; begins with a letter or `_`.
    pub username: String,
    /// Gets the verification mail.
    pub email: String,
    /// At least 8 printable ASCII characters without white space.
    pub password: String,
    /// The same again.
    pub confirm_password: String,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Organisation.
    pub affiliation: Option<String>,
    /// What the reCAPTCHA widget gave, where one is configured.
    pub token: Option<String>,
    /// Where to go then, on this site.
    pub success_uri: Option<String>,
    /// Where to go else.
    pub error_uri: Option<String>,
}

/// A form with an address.
#[derive(Serialize, ToSchema)]
pub struct EmailForm {
    /// The e-mail address.
    pub email: String,
}

/// The form for a new password.
#[derive(Serialize, ToSchema)]
pub struct NewPasswordForm {
    /// From the mail.
    pub code: String,
    /// At least 8 printable ASCII characters without white space.
    pub password: String,
    /// The same again.
    pub confirm_password: String,
}

/// The login form.
#[derive(Serialize, ToSchema)]
pub struct LoginForm {
    /// User name or e-mail address.
    pub username: String,
    /// The password.
    pub password: String,
    /// Where to go then, on this site.
    pub success_uri: Option<String>,
    /// Where to go else.
    pub error_uri: Option<String>,
}

/// A text for a port of a run.
#[derive(Serialize, ToSchema)]
pub struct NetcatRequest {
    /// The text.
    pub message: String,
}

/// A worker's check-in. Further fields are described in the worker's documentation.
#[derive(Serialize, ToSchema)]
pub struct CheckIn {
    /// Label of the worker.
    pub tag: Option<String>,
    /// Group whose runs it takes.
    pub group_name: Option<String>,
    /// CPUs.
    pub cpus: i64,
    /// GPUs.
    pub gpus: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of free disk.
    pub free_disk_bytes: Option<i64>,
    /// Uuids of dependencies that it holds.
    pub dependencies: Option<Vec<Value>>,
    /// Reports of its runs.
    pub runs: Option<Vec<Value>>,
    /// Name of its machine.
    pub hostname: String,
    /// Version of its program.
    pub version: Option<String>,
    /// Longest wait for messages, in seconds.
    #[schema(minimum = 0, maximum = 5, example = 0)]
    pub wait_seconds: Option<i64>,
}

/// A worker begins a run.
#[derive(Serialize, ToSchema)]
pub struct StartBundleRequest {
    /// Name of its machine.
    pub hostname: String,
    /// Unix seconds.
    pub start_time: i64,
}

/// All workers that the viewer may know.
#[derive(Serialize, ToSchema)]
pub struct WorkersAnswer {
    /// One object per worker.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Value>,
    /// The version.
    pub meta: Meta,
}

/// The state of the server.
#[derive(Serialize, ToSchema)]
pub struct HealthAnswer {
    /// `ok` or `fail`.
    pub status: String,
    /// Version of the program.
    pub version: String,
    /// One entry per check.
    #[schema(value_type = Option<Object>)]
    pub checks: Option<Value>,
}
